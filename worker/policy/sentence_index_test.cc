#include "worker/policy/sentence_index.h"

#include <gtest/gtest.h>

#include <vector>

namespace skv::policy {
namespace {

TEST(SentenceIndexTest, VectorsThatHaveMovedAreHeldOnce) {
  constexpr int kHeadDim = 32;
  SentenceIndex index(kDefaultDigest, kHeadDim);
  const std::vector<float> keys(4 * kHeadDim, 0.5f);
  for (int i = 0; i < 50; ++i) index.Add({4 * i, 4 * i + 4}, keys.data());
  index.ShrinkToFit();
  const size_t bytes = index.size_bytes();
  EXPECT_GE(bytes, index.vector_bytes());
  std::vector<std::byte> memory(index.vector_bytes());
  index.MoveVectors(memory.data());
  EXPECT_EQ(index.size_bytes(), bytes);
}

}  // namespace
}  // namespace skv::policy
