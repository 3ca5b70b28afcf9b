// What a prefix cache asks its client, and what it makes of answers that a store seldom gives.

#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "common/testing/fake_clock.h"
#include "common/testing/status_matchers.h"
#include "kvstore/client/in_process_block_client.h"
#include "worker/prefix/prefix_cache.h"
#include "worker/prefix/testing/prompt_run.h"

namespace skv::prefix {
namespace {

using kvstore::BlockClient;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

// A client of a store in this process; shows the calls, and fails those that it is told to.
class WatchedClient : public BlockClient {
 public:
  explicit WatchedClient(uint64_t capacity_bytes)
      : client_(kvstore::CreateInProcessBlockClient({.capacity_bytes = capacity_bytes}).value()) {}

  absl::StatusOr<kvstore::LeasedChain> Get(std::span<const PrefixKey> keys,
                                           TimePoint deadline) override {
    deadlines.push_back(deadline);
    if (!get_error.ok()) return get_error;
    return client_->Get(keys, deadline);
  }
  std::vector<absl::StatusOr<kvstore::Creation>> Create(std::vector<kvstore::NewSentence> sentences,
                                                        TimePoint deadline) override {
    deadlines.push_back(deadline);
    if (before_create != nullptr) std::exchange(before_create, nullptr)();
    return client_->Create(std::move(sentences), deadline);
  }
  std::vector<absl::StatusOr<kvstore::SealedBlock>> Seal(std::vector<kvstore::WritableBlock> blocks,
                                                         bool is_tip, TimePoint deadline) override {
    deadlines.push_back(deadline);
    num_sealed.push_back(blocks.size());
    if (seal_error.ok()) return client_->Seal(std::move(blocks), is_tip, deadline);
    std::vector<absl::StatusOr<kvstore::SealedBlock>> refused;
    for (size_t i = 0; i < blocks.size(); ++i) refused.emplace_back(seal_error);
    return refused;
  }
  absl::Status Wait(std::span<const PrefixKey> keys, TimePoint deadline) override {
    deadlines.push_back(deadline);
    if (!wait_error.ok()) return wait_error;
    return client_->Wait(keys, deadline);
  }
  kvstore::Notices TakeNotices() override { return client_->TakeNotices(); }
  absl::Status Flush(TimePoint deadline) override {
    deadlines.push_back(deadline);
    return client_->Flush(deadline);
  }
  absl::Status status() const override { return client_->status(); }
  kvstore::BlockClientGauges gauges() const override { return client_->gauges(); }

  std::vector<TimePoint> deadlines;
  std::vector<size_t> num_sealed;       // by call
  std::function<void()> before_create;  // once
  absl::Status get_error, wait_error, seal_error;

 private:
  const std::unique_ptr<BlockClient> client_;
};

class PrefixCacheCallsTest : public testing::Test {
 protected:
  PromptRun Begin(const TestPrompt& prompt, SequenceId id) {
    return {pool_.get(), prompt, cache_.LookUp(prompt.Request(id))};
  }
  void Compute(PromptRun* run, int end) {
    run->ComputeTo(end);
    EXPECT_OK(cache_.SealCompleted());
  }

  FakeClock clock_;
  WatchedClient client_{32 << 20};
  PrefixCache cache_{&client_, kTestLayout, clock_};
  const std::unique_ptr<kv::KvPool> pool_ = kv::KvPool::Create(kTestLayout, 1 << 14).value();
  const TestPrompt prompt_ = MakePrompt({5, 7, 8}, 3);
};

TEST_F(PrefixCacheCallsTest, EveryCallHasADeadlineOfTheClock) {
  clock_.Advance(std::chrono::hours(1));
  PromptRun run = Begin(prompt_, 1);
  EXPECT_TRUE(cache_.LookUp(prompt_.Request(2)).in_progress);
  Compute(&run, 23);
  Compute(&run, 23);
  EXPECT_EQ(client_.deadlines.size(), 8u) << "get, create; get, create, wait, flush; seal; flush";
  EXPECT_THAT(client_.deadlines, Each(clock_.Now() + kStoreTimeout));
}

TEST_F(PrefixCacheCallsTest, AStepsBlocksAreSealedInOneCall) {
  const TestPrompt other = MakePrompt({4, 4}, 1, /*first=*/90);
  PromptRun first = Begin(prompt_, 1), second = Begin(other, 2);
  first.ComputeTo(13);
  second.ComputeTo(9);
  EXPECT_OK(cache_.SealCompleted());
  EXPECT_OK(cache_.SealCompleted());
  Compute(&first, 15);
  Compute(&first, 23);
  EXPECT_THAT(client_.num_sealed, ElementsAre(4u, 1u));
}

TEST_F(PrefixCacheCallsTest, ChainsMayBeLongerThanOneCallTakes) {
  const int num_sentences = BlockClient::kMaxChainKeys + 50;
  const TestPrompt prompt = MakePrompt(std::vector<int>(num_sentences, 1), 1);
  {
    PromptRun cold = Begin(prompt, 1);
    EXPECT_TRUE(cache_.LookUp(prompt.Request(2)).in_progress);
    Compute(&cold, prompt.size());
    EXPECT_THAT(cache_.TakeReady(), ElementsAre(2u));
  }
  const PrefixCache::Hit hit = cache_.LookUp(prompt.Request(2));
  EXPECT_EQ(hit.num_cached_tokens, num_sentences);
  EXPECT_EQ(client_.gauges().num_leases, 2u) << "one a call";
}

TEST_F(PrefixCacheCallsTest, WhatIsSealedBetweenTheCallsIsFoundAfterAll) {
  PromptRun first = Begin(prompt_, 1);
  client_.before_create = [&] { Compute(&first, 23); };
  const PrefixCache::Hit hit = cache_.LookUp(prompt_.Request(2));
  EXPECT_EQ(hit.num_cached_tokens, 20);
  EXPECT_FALSE(hit.in_progress);
}

TEST_F(PrefixCacheCallsTest, AWriterThatSealsBetweenAllCallsIsWaitedFor) {
  PromptRun first = Begin(prompt_, 1);
  client_.before_create = [&] {
    Compute(&first, 5);
    client_.before_create = [&] { Compute(&first, 12); };
  };
  const PrefixCache::Hit hit = cache_.LookUp(prompt_.Request(2));
  EXPECT_EQ(hit.num_cached_tokens, 12);
  EXPECT_TRUE(hit.in_progress);
}

TEST_F(PrefixCacheCallsTest, AStoreThatLendsNothingIsDoneWithout) {
  {
    PromptRun cold = Begin(prompt_, 1);
    Compute(&cold, 23);
  }
  client_.get_error = absl::ResourceExhaustedError("as many leases as it may give");
  const PrefixCache::Hit hit = cache_.LookUp(prompt_.Request(2));
  EXPECT_EQ(hit.num_cached_tokens, 0);
  EXPECT_EQ(hit.blocks.size(), 3u);
  EXPECT_THAT(hit.blocks, Each(testing::IsNull()));
  PromptRun run(pool_.get(), prompt_, hit);
  Compute(&run, 23);
  EXPECT_TRUE(run.IsRight(23));
}

TEST_F(PrefixCacheCallsTest, WhoeverCannotWaitGoesOnAlone) {
  const PromptRun first = Begin(prompt_, 1);
  client_.wait_error = absl::ResourceExhaustedError("too many wait");
  const PrefixCache::Hit hit = cache_.LookUp(prompt_.Request(2));
  EXPECT_FALSE(hit.in_progress);
  EXPECT_EQ(hit.blocks.size(), 3u);
  EXPECT_EQ(cache_.counters().num_waits, 0u);
}

TEST_F(PrefixCacheCallsTest, BlocksOfAnotherSizeAreNoHit) {
  {
    PromptRun cold = Begin(prompt_, 1);
    Compute(&cold, 23);
  }
  kv::KvLayout larger = kTestLayout;
  larger.num_layers = 2;
  PrefixCache other(&client_, larger, clock_);
  EXPECT_EQ(other.LookUp(prompt_.Request(2)).num_cached_tokens, 0);
  EXPECT_EQ(client_.gauges().num_leases, 0u);
}

TEST_F(PrefixCacheCallsTest, ARefusedBlockIsAnErrorWhileItIsRead) {
  client_.seal_error = absl::InvalidArgumentError("no header");
  {
    PromptRun run = Begin(prompt_, 1);
    run.ComputeTo(6);
    EXPECT_THAT(cache_.SealCompleted(),
                StatusIs(absl::StatusCode::kInternal, HasSubstr("no header")));
    EXPECT_EQ(cache_.counters().num_failed_blocks, 1u);
    run.ComputeTo(12);
  }
  EXPECT_OK(cache_.SealCompleted()) << "nobody reads it";
  EXPECT_EQ(client_.gauges().num_leases, 0u);
}

}  // namespace
}  // namespace skv::prefix
