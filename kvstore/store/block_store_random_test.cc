#include "gtest/gtest.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/store/testing/store_simulation.h"

namespace skv::kvstore {
namespace {

class BlockStoreRandomTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(All, BlockStoreRandomTest, testing::Bool());

TEST_P(BlockStoreRandomTest, KeepsWhatIsHeldWhateverClientsDo) {
  StoreSimulation::Counts sum;
  for (int seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const OrderOptions options = StoreSimulation::Options().index.order();
    StoreSimulation simulation(GetParam() ? CreateS3FifoOrder(options) : CreateLruOrder(options),
                               seed);
    simulation.Run(2000);
    if (HasFailure()) return;
    sum.Add(simulation.counts());
  }
  // The test has met what it is about.
  EXPECT_GT(sum.num_sealed, 2000);
  EXPECT_GT(sum.num_bad_headers, 500);
  EXPECT_GT(sum.num_aborted, 100);
  EXPECT_GT(sum.num_no_hole, 100);
  EXPECT_GT(sum.num_hits, 2000);
  EXPECT_GT(sum.num_told, 500);
  EXPECT_GT(sum.num_widening, 100);
}

}  // namespace
}  // namespace skv::kvstore
