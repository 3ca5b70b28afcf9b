#include "bench/kvstore/allocator_churn.h"

#include "gtest/gtest.h"
#include "kvstore/block/block_header.h"

namespace skv::bench {
namespace {

// The arena holds some hundred blocks here, far fewer than a real one: the worst case of a share.
TEST(AllocatorChurnTest, NineTenthsOfAFullArenaAreLiveWhoeverIsEvicted) {
  for (const char* eviction : {"random", "oldest", "second-chance"}) {
    for (const bool one_layout_at_a_time : {false, true}) {
      SCOPED_TRACE(std::string(eviction) + (one_layout_at_a_time ? " one by one" : " mixed"));
      ChurnOptions options;
      options.arena_bytes = uint64_t{1} << 30;
      options.num_operations = 200000;
      options.token_bytes = {11520, 23040, 131072};
      options.one_layout_at_a_time = one_layout_at_a_time;
      options.eviction = eviction;
      const ChurnResult result = RunChurn(options);
      EXPECT_GE(result.live_of_committed.min, 0.9);
      EXPECT_GE(result.live_of_arena.min, 0.9);
      EXPECT_GT(result.num_evicted, 10 * result.mean_live_blocks);
      EXPECT_GE(result.num_evicted, result.num_evicted_as_victims);
    }
  }
}

TEST(AllocatorChurnTest, BlocksHaveTheSizesOfTheSentencesGiven) {
  ChurnOptions options;
  options.arena_bytes = uint64_t{1} << 30;
  options.num_operations = 10000;
  options.token_bytes = {1024};
  options.sentence_tokens = {4, 12};
  const double header = static_cast<double>(kvstore::HeaderBytes(4) + kvstore::HeaderBytes(12)) / 2;
  EXPECT_NEAR(RunChurn(options).mean_block_bytes, 8 * 1024 + header, 100);
}

TEST(AllocatorChurnTest, WithoutWideningALargeBlockEmptiesTheArena) {
  ChurnOptions options;
  options.arena_bytes = uint64_t{1} << 30;
  options.num_operations = 200000;
  options.token_bytes = {11520, 23040, 131072};
  options.widen_below = 0;
  EXPECT_LT(RunChurn(options).live_of_arena.min, 0.6);
}

}  // namespace
}  // namespace skv::bench
