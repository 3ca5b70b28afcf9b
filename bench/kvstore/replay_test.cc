#include "bench/kvstore/replay.h"

#include "gtest/gtest.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/index/s3fifo_order.h"

namespace skv::bench {
namespace {

std::unique_ptr<kvstore::EvictionOrder> S3Fifo(const kvstore::OrderOptions& options) {
  return kvstore::CreateS3FifoOrder(options);
}

class ReplayTest : public testing::TestWithParam<std::string_view> {
 protected:
  const Trace trace_ = MakeTrace(GetParam(), 5, 0.05);
  const int64_t footprint_bytes_ = trace_.FootprintBytes();
};
INSTANTIATE_TEST_SUITE_P(All, ReplayTest, testing::ValuesIn(TraceNames()));

TEST_P(ReplayTest, WhoKnowsTheFutureMissesLeast) {
  const int64_t best = ReplayBelady(trace_, footprint_bytes_ / 5).missed_bytes;
  EXPECT_LE(best, Replay(trace_, footprint_bytes_ / 5, S3Fifo).missed_bytes);
  EXPECT_LE(best, Replay(trace_, footprint_bytes_ / 5, kvstore::CreateLruOrder).missed_bytes);
}

TEST_P(ReplayTest, ACacheForAllMissesEachSentenceOnce) {
  EXPECT_EQ(Replay(trace_, footprint_bytes_, S3Fifo).missed_bytes, footprint_bytes_);
  EXPECT_EQ(Replay(trace_, footprint_bytes_, kvstore::CreateLruOrder).missed_bytes,
            footprint_bytes_);
  EXPECT_EQ(ReplayBelady(trace_, footprint_bytes_).missed_bytes, footprint_bytes_);
}

TEST_P(ReplayTest, EqualSeedsGiveEqualTraces) {
  const Trace again = MakeTrace(GetParam(), 5, 0.05);
  EXPECT_EQ(again.requests, trace_.requests);
  EXPECT_EQ(again.FootprintBytes(), footprint_bytes_);
  EXPECT_NE(MakeTrace(GetParam(), 6, 0.05).FootprintBytes(), footprint_bytes_);
}

TEST_P(ReplayTest, SentencesHave4To128Tokens) {
  for (const Sentence& sentence : trace_.sentences) {
    EXPECT_GE(sentence.bytes, 4 * kTokenBytes);
    EXPECT_LE(sentence.bytes, 128 * kTokenBytes);
  }
}

}  // namespace
}  // namespace skv::bench
