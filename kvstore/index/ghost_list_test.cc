#include "kvstore/index/ghost_list.h"

#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

constexpr int64_t kNoLimit = INT64_MAX;

TEST(GhostListTest, GivesBackAStampOnce) {
  GhostList ghosts(4);
  ghosts.Add(1, 10, 77, kNoLimit);
  EXPECT_EQ(ghosts.Take(1), 77);
  EXPECT_EQ(ghosts.Take(1), std::nullopt);
  EXPECT_EQ(ghosts.size(), 0u);
}

TEST(GhostListTest, ForgetsTheOldestBeyondItsNumber) {
  GhostList ghosts(2);
  for (uint64_t key = 1; key <= 3; ++key) ghosts.Add(key, 10, 0, kNoLimit);
  EXPECT_EQ(ghosts.size(), 2u);
  EXPECT_FALSE(ghosts.Take(1));
  EXPECT_TRUE(ghosts.Take(2));
  EXPECT_TRUE(ghosts.Take(3));
}

TEST(GhostListTest, ForgetsTheOldestBeyondItsBytes) {
  GhostList ghosts(10);
  ghosts.Add(1, 60, 0, 100);
  ghosts.Add(2, 30, 0, 100);
  ghosts.Add(3, 30, 0, 100);
  EXPECT_FALSE(ghosts.Take(1));
  EXPECT_TRUE(ghosts.Take(2));
}

TEST(GhostListTest, AKeyThatIsThereBecomesTheYoungest) {
  GhostList ghosts(2);
  ghosts.Add(1, 10, 0, kNoLimit);
  ghosts.Add(2, 10, 0, kNoLimit);
  ghosts.Add(1, 10, 5, kNoLimit);
  ghosts.Add(3, 10, 0, kNoLimit);
  EXPECT_FALSE(ghosts.Take(2));
  EXPECT_EQ(ghosts.Take(1), 5);
}

}  // namespace
}  // namespace skv::kvstore
