#include "eval/fidelity/key_reads.h"

#include <gtest/gtest.h>

#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::eval {
namespace {

using policy::PositionRange;

TEST(KeyReadsTest, KeysThatAreNotAttendedCountOnceHoweverTheyAreRead) {
  const policy::TestSequence sequence =
      policy::MakeRandomSequence({.shape = {1, 1, 1, 32, 50}, .num_tokens = 60}, 1);
  const policy::FakeKv kv(&sequence, 0, 0, 60);
  const KeyReads reads(&kv);
  EXPECT_EQ(reads.NumBeside({}), 0);
  std::vector<float> rows(60 * 32), scores(60), expected(60);
  reads.ReadKeys(40, 50, rows.data());
  const std::vector<PositionRange> ranges = {{0, 10}, {45, 55}};
  reads.ScoreKeys(sequence.Query(0, 0, 59), 1, ranges, scores.data(), 60);
  kv.ScoreKeys(sequence.Query(0, 0, 59), 1, ranges, expected.data(), 60);
  EXPECT_EQ(scores, expected);
  EXPECT_EQ(reads.NumBeside({}), 25);
  const std::vector<PositionRange> attended = {{5, 12}, {50, 60}};
  EXPECT_EQ(reads.NumBeside(attended), 15);
}

TEST(KeyReadsTest, SketchesCountByTheirBytesForWhoeverIsBehindToo) {
  const policy::TestSequence sequence =
      policy::MakeRandomSequence({.shape = {1, 1, 1, 32, 50}, .num_tokens = 60}, 1);
  const policy::FakeKv kv(&sequence, 0, 0, 60);
  const KeyReads reads(&kv);
  reads.CountSketchBytes(72);
  reads.CountSketchBytes(36);
  EXPECT_EQ(reads.sketch_bytes(), 108);
  EXPECT_EQ(kv.sketch_bytes(), 108);
  EXPECT_EQ(reads.NumBeside({}), 0);
}

}  // namespace
}  // namespace skv::eval
