// Hits that are computed again, to see whether the store tells the truth.

#include <memory>
#include <utility>

#include "common/testing/status_matchers.h"
#include "kvstore/client/in_process_block_client.h"
#include "worker/prefix/prefix_cache.h"
#include "worker/prefix/testing/prompt_run.h"

namespace skv::prefix {
namespace {

class RecomputeTest : public testing::Test {
 protected:
  PrefixCache::Hit LookUp(const TestPrompt& prompt) { return cache_.LookUp(prompt.Request(1)); }
  void Compute(const TestPrompt& prompt, PrefixCache::Hit hit) {
    PromptRun run(pool_.get(), prompt, std::move(hit));
    run.ComputeTo(prompt.size());
    EXPECT_OK(cache_.SealCompleted());
    EXPECT_TRUE(run.IsRight(prompt.size()));
  }

  const std::unique_ptr<kv::KvPool> pool_ = kv::KvPool::Create(kTestLayout, 1 << 14).value();
  const std::unique_ptr<kvstore::BlockClient> client_ =
      kvstore::CreateInProcessBlockClient({.capacity_bytes = 1 << 20}).value();
  PrefixCache cache_{client_.get(), kTestLayout, RealClock()};
  const TestPrompt prompt_ = MakePrompt({5, 7, 8}, 3);
};

TEST_F(RecomputeTest, WhatWasStoredRightIsFoundEqualAndNothingIsHeldAfterwards) {
  Compute(prompt_, LookUp(prompt_));
  PrefixCache::Hit hit = LookUp(prompt_);
  ASSERT_EQ(hit.num_cached_tokens, 20);
  EXPECT_EQ(cache_.Recompute(&hit), 0);
  EXPECT_EQ(hit.num_cached_tokens, 0);
  EXPECT_EQ(hit.blocks.size(), 3u);
  Compute(prompt_, std::move(hit));
  EXPECT_EQ(cache_.recompute_counters().num_blocks, 3u);
  EXPECT_EQ(cache_.recompute_counters().num_different, 0u);
  EXPECT_EQ(client_->gauges().num_leases, 0u);
  EXPECT_EQ(LookUp(prompt_).num_cached_tokens, 20) << "the store has it as before";
}

TEST_F(RecomputeTest, AWrongByteIsCountedAndNotRead) {
  Compute(prompt_, LookUp(prompt_));
  PrefixCache::Hit hit = LookUp(prompt_);
  // Behind the check of its checksum, as if it had been stored so.
  hit.blocks[1]->data()[kTestLayout.TokenBytes() * 7 - 1] ^= std::byte{1};
  cache_.Recompute(&hit);
  Compute(prompt_, std::move(hit));
  EXPECT_EQ(cache_.recompute_counters().num_blocks, 3u);
  EXPECT_EQ(cache_.recompute_counters().num_different, 1u);
}

TEST_F(RecomputeTest, OfALongHitTheEndIsComputedAgain) {
  const TestPrompt longer = MakePrompt({100, 128, 128, 128, 128, 9}, 3);
  Compute(longer, LookUp(longer));
  PrefixCache::Hit hit = LookUp(longer);
  ASSERT_EQ(hit.num_cached_tokens, 621);
  EXPECT_EQ(cache_.Recompute(&hit), 228) << "393 tokens of whole sentences, 512 at most";
  Compute(longer, std::move(hit));
  EXPECT_EQ(cache_.recompute_counters().num_blocks, 4u);
}

TEST_F(RecomputeTest, WhoeverGoesBeforeTheEndComparesNothing) {
  Compute(prompt_, LookUp(prompt_));
  {
    PrefixCache::Hit hit = LookUp(prompt_);
    cache_.Recompute(&hit);
    PromptRun run(pool_.get(), prompt_, std::move(hit));
    run.ComputeTo(6);
  }
  EXPECT_EQ(cache_.recompute_counters().num_blocks, 1u);
  EXPECT_OK(cache_.SealCompleted());
  EXPECT_EQ(client_->gauges().num_leases, 0u);
}

}  // namespace
}  // namespace skv::prefix
