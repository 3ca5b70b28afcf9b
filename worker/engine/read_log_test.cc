#include "worker/engine/read_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace skv::engine {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int kHeads = 8;

// Three sentences of a prompt of 30 tokens.
ReadLog MakeLog(int top) { return ReadLog({10, 25, 30}, kHeads, top); }

void Add(ReadLog* log, int sentence_begin, const std::vector<std::vector<float>>& rank_reads) {
  std::vector<const float*> pointers;
  for (const std::vector<float>& reads : rank_reads) pointers.push_back(reads.data());
  log->Add(sentence_begin, pointers);
}

TEST(ReadLogTest, ASentenceGetsTheMeanOverItsTokensOfTheLargestShareOfAnyRank) {
  ReadLog log = MakeLog(3);
  Add(&log, 0, {{0.5, 0.25, 0, 4, 2, 0}, {0.125, 0.75, 0, 4, 1, 0}});
  Add(&log, 0, {{0.25, 0.5, 0, 4, 4, 0}, {0.25, 0.125, 0, 4, 1, 0}});
  EXPECT_THAT(log.TakeEnded(), IsEmpty());
  Add(&log, 2, {{0, 0, 1, 0, 0, 8}, {0, 0, 0.5, 0, 0, 0}});
  const std::vector<Explanation> ended = log.TakeEnded();
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(ended[0].begin, 0);
  EXPECT_EQ(ended[0].end, 2);
  ASSERT_THAT(ended[0].reads, SizeIs(2)) << "what nothing was read of is not named";
  EXPECT_EQ(ended[0].reads[0].begin, 10);
  EXPECT_EQ(ended[0].reads[0].end, 25);
  EXPECT_EQ(ended[0].reads[0].score, (0.75 + 0.5) / 2);
  EXPECT_EQ(ended[0].reads[0].heads_share, (3.0 + 5.0) / 2 / kHeads);
  EXPECT_EQ(ended[0].reads[1].begin, 0);
  EXPECT_EQ(ended[0].reads[1].score, (0.5 + 0.25) / 2);
  EXPECT_EQ(ended[0].reads[1].heads_share, 1);
  EXPECT_THAT(log.TakeEnded(), IsEmpty()) << "each is told once";

  const auto unfinished = log.Unfinished(10);
  ASSERT_TRUE(unfinished.has_value());
  EXPECT_EQ(unfinished->begin, 2);
  EXPECT_EQ(unfinished->end, 10);
  ASSERT_THAT(unfinished->reads, SizeIs(1)) << "the sentence before is forgotten";
  EXPECT_EQ(unfinished->reads[0].begin, 25);
  EXPECT_EQ(unfinished->reads[0].score, 1);
}

TEST(ReadLogTest, NamesTheLargestScoresAndOfEqualOnesTheEarlier) {
  ReadLog log = MakeLog(2);
  EXPECT_FALSE(log.Unfinished(1).has_value()) << "no token was added";
  Add(&log, 0, {{0.25, 0.5, 0.25, 1, 1, 1}});
  const auto explanation = log.Unfinished(1);
  ASSERT_TRUE(explanation.has_value());
  ASSERT_THAT(explanation->reads, SizeIs(2));
  EXPECT_EQ(explanation->reads[0].begin, 10);
  EXPECT_EQ(explanation->reads[1].begin, 0);
}

}  // namespace
}  // namespace skv::engine
