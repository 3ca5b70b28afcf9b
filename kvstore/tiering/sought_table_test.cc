#include "kvstore/tiering/sought_table.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/index/testing/numbered_keys.h"

namespace skv::kvstore {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class SoughtTableTest : public testing::Test {
 protected:
  SeekId Begin(std::initializer_list<int> numbers) {
    std::vector<EntryKey> keys;
    for (const int number : numbers) keys.push_back(KeyOfNumber(number));
    return table_.Begin(keys, now_);
  }

  SoughtTable table_{{.max_chains = 3, .max_keys = 6, .max_absent = 2}};
  TimePoint now_{seconds(100)};
  std::vector<SeekId> seeks_;
  std::vector<EntryKey> ended_;
};

TEST_F(SoughtTableTest, WhatWasNotFoundEndsAndTheFirstOfItIsAbsent) {
  const SeekId id = Begin({1, 2, 3, 4});
  table_.Found(KeyOfNumber(1));
  EXPECT_FALSE(table_.IsSought(KeyOfNumber(1)));
  EXPECT_TRUE(table_.IsSought(KeyOfNumber(4)));
  table_.End(id, now_, &ended_);
  EXPECT_THAT(ended_, ElementsAre(KeyOfNumber(2), KeyOfNumber(3), KeyOfNumber(4)));
  EXPECT_FALSE(table_.IsActive(id));
  EXPECT_TRUE(table_.IsAbsent(KeyOfNumber(2), now_));
  EXPECT_FALSE(table_.IsAbsent(KeyOfNumber(3), now_));
  EXPECT_FALSE(table_.IsAbsent(KeyOfNumber(2), now_ + seconds(10)));
  table_.Found(KeyOfNumber(2));
  EXPECT_FALSE(table_.IsAbsent(KeyOfNumber(2), now_));
}

TEST_F(SoughtTableTest, WhatCouldNotBePlacedIsAbsentForAShortTime) {
  const SeekId id = Begin({1, 2, 3});
  table_.Found(KeyOfNumber(1));
  table_.EndUnplaced(id, now_, &ended_);
  EXPECT_THAT(ended_, ElementsAre(KeyOfNumber(2), KeyOfNumber(3)));
  EXPECT_TRUE(table_.IsAbsent(KeyOfNumber(2), now_ + milliseconds(999)));
  EXPECT_FALSE(table_.IsAbsent(KeyOfNumber(2), now_ + seconds(1)));
  EXPECT_EQ(table_.NextDeadline(), now_ + seconds(1));
}

TEST_F(SoughtTableTest, WhatIsFoundWholeLeavesNothing) {
  const SeekId id = Begin({1, 2});
  table_.Found(KeyOfNumber(1));
  table_.Found(KeyOfNumber(2));
  table_.End(id, now_, &ended_);
  EXPECT_THAT(ended_, IsEmpty());
  EXPECT_EQ(table_.num_absent(), 0u);
}

TEST_F(SoughtTableTest, WhatIsWithdrawnIsNeitherSoughtNorAbsent) {
  const SeekId id = Begin({1, 2});
  table_.Withdraw(id);
  EXPECT_FALSE(table_.IsActive(id));
  EXPECT_FALSE(table_.IsSought(KeyOfNumber(1)));
  EXPECT_EQ(table_.num_keys(), 0u);
  EXPECT_EQ(table_.num_absent(), 0u);
}

TEST_F(SoughtTableTest, AnEndedSeekEndsNothingOfTheNext) {
  const SeekId first = Begin({1});
  table_.End(first, now_, &ended_);
  const SeekId second = Begin({1});
  EXPECT_NE(first, second);
  table_.End(first, now_, &ended_);
  EXPECT_TRUE(table_.IsSought(KeyOfNumber(1)));
}

TEST_F(SoughtTableTest, AKeyThatWasFoundAndIsSoughtAnewIsNotEndedByTheFirstSeek) {
  const SeekId first = Begin({1, 2});
  table_.Found(KeyOfNumber(1));
  Begin({1});  // the arena has lost it again
  table_.End(first, now_, &ended_);
  EXPECT_THAT(ended_, ElementsAre(KeyOfNumber(2)));
  EXPECT_TRUE(table_.IsSought(KeyOfNumber(1)));
}

TEST_F(SoughtTableTest, SeeksEndByTheirTimeInTheirOrder) {
  const SeekId first = Begin({1});
  now_ += seconds(2);
  const SeekId second = Begin({2});
  EXPECT_EQ(table_.NextDeadline(), now_ + seconds(3));
  table_.Expire(now_ + seconds(3), &seeks_, &ended_);
  EXPECT_THAT(seeks_, ElementsAre(first));
  table_.Expire(now_ + seconds(5), &seeks_, &ended_);
  EXPECT_THAT(seeks_, ElementsAre(first, second));
  EXPECT_THAT(ended_, ElementsAre(KeyOfNumber(1), KeyOfNumber(2)));
  EXPECT_EQ(table_.num_absent(), 2u);
  table_.Expire(table_.NextDeadline(), &seeks_, &ended_);
  EXPECT_EQ(table_.num_absent(), 1u);
  table_.Expire(table_.NextDeadline(), &seeks_, &ended_);
  EXPECT_EQ(table_.num_absent(), 0u);
  EXPECT_EQ(table_.NextDeadline(), TimePoint::max());
}

TEST_F(SoughtTableTest, ChainsAndKeysAreCapped) {
  EXPECT_NE(Begin({1, 2, 3}), SeekId::kNone);
  EXPECT_EQ(Begin({4, 5, 6, 7}), SeekId::kNone);
  EXPECT_NE(Begin({4}), SeekId::kNone);
  EXPECT_NE(Begin({5}), SeekId::kNone);
  EXPECT_EQ(Begin({6}), SeekId::kNone);
  EXPECT_EQ(table_.num_keys(), 5u);
  EXPECT_FALSE(table_.IsSought(KeyOfNumber(6)));
}

TEST_F(SoughtTableTest, OfTheAbsentTheOldestIsForgotten) {
  for (int i = 1; i <= 3; ++i) table_.End(Begin({i}), now_, &ended_);
  EXPECT_EQ(table_.num_absent(), 2u);
  EXPECT_FALSE(table_.IsAbsent(KeyOfNumber(1), now_));
  EXPECT_TRUE(table_.IsAbsent(KeyOfNumber(3), now_));
  // Found and lost again: what was remembered of it before does not end its time.
  table_.Found(KeyOfNumber(3));
  now_ += seconds(5);
  table_.End(Begin({3}), now_, &ended_);
  table_.Expire(now_ + seconds(6), &seeks_, &ended_);
  EXPECT_TRUE(table_.IsAbsent(KeyOfNumber(3), now_ + seconds(6)));
}

}  // namespace
}  // namespace skv::kvstore
