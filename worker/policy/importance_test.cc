#include "worker/policy/importance.h"

#include <gtest/gtest.h>

#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

TEST(ImportanceTest, WhatTheLastQueriesAskForAndItsNeighboursAreKept) {
  constexpr int kPrompt = 100, kWindow = 4;
  TestSequence sequence = {{1, 1, 2, 32, kPrompt}, kPrompt, {}, {}, {}};
  sequence.keys.resize(kPrompt * 32, 0.0f);
  sequence.keys[40 * 32 + 5] = 1.0f;
  sequence.keys[70 * 32 + 6] = 1.0f;
  std::vector<float> queries(kWindow * 2 * 32, 0.0f);
  for (int row = 0; row < kWindow; ++row) queries[row * 64 + 5] = 60.0f;  // head 0: position 40
  queries[32 + 6] = 60.0f;  // head 1: position 70, once
  const FakeKv kv(&sequence, 0, 0, kPrompt);
  const ImportanceShape shape = {2, 32, kPrompt, kWindow};
  EXPECT_EQ(ImportantPositions(shape, kv, queries, kWindow + 7),
            (std::vector<int32_t>{37, 38, 39, 40, 41, 42, 43, 96, 97, 98, 99}));
  EXPECT_EQ(ImportantPositions(shape, kv, queries, kWindow + 9),
            (std::vector<int32_t>{37, 38, 39, 40, 41, 42, 43, 67, 68, 96, 97, 98, 99}));
  EXPECT_EQ(ImportantPositions(shape, kv, queries, kWindow),
            (std::vector<int32_t>{96, 97, 98, 99}));
}

}  // namespace
}  // namespace skv::policy
