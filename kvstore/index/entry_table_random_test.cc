#include "gtest/gtest.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/index/testing/entry_table_simulation.h"

namespace skv::kvstore {
namespace {

class EntryTableRandomTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(All, EntryTableRandomTest, testing::Bool());

TEST_P(EntryTableRandomTest, DoesWhatTheModelSays) {
  int64_t num_evicted = 0, num_refused = 0, num_dropped = 0, num_hits = 0, num_by_name = 0;
  for (int seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const OrderOptions options = Simulation::Options().order();
    Simulation simulation(GetParam() ? CreateS3FifoOrder(options) : CreateLruOrder(options), seed);
    simulation.Run(2000);
    if (HasFailure()) return;
    num_evicted += simulation.num_evicted();
    num_refused += simulation.num_refused();
    num_dropped += simulation.num_dropped();
    num_hits += simulation.num_hits();
    num_by_name += simulation.num_evicted_by_name();
  }
  // The test has met what it is about.
  EXPECT_GT(num_evicted, 2000);
  EXPECT_GT(num_refused, 500);
  EXPECT_GT(num_dropped, 2000);
  EXPECT_GT(num_hits, 2000);
  EXPECT_GT(num_by_name, 100);
}

}  // namespace
}  // namespace skv::kvstore
