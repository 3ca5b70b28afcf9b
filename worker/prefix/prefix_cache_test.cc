// Sequences that share prompts: of one process with a store of its own, and of two that share one.

#include "worker/prefix/prefix_cache.h"

#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "common/testing/status_matchers.h"
#include "kvstore/client/in_process_block_client.h"
#include "kvstore/client/reconnecting_block_client.h"
#include "worker/prefix/testing/prompt_run.h"
#include "worker/prefix/testing/running_store.h"

namespace skv::prefix {
namespace {

using kvstore::BlockClient;
using testing::ElementsAre;
using testing::IsEmpty;
using Hit = PrefixCache::Hit;

// For each sentence: f found, c claimed, - neither.
std::string KindsOf(const Hit& hit) {
  std::string kinds;
  for (const auto& block : hit.blocks) {
    const bool is_found = dynamic_cast<const FoundBlock*>(block.get()) != nullptr;
    kinds += block == nullptr ? '-' : is_found ? 'f' : 'c';
  }
  return kinds;
}

// For what must happen, however loaded the machine is.
std::vector<SequenceId> AwaitReady(PrefixCache& cache) {
  const TimePoint end = RealClock().Now() + std::chrono::seconds(60);
  while (RealClock().Now() < end) {
    if (std::vector<SequenceId> ready = cache.TakeReady(); !ready.empty()) return ready;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

std::unique_ptr<BlockClient> CreateLocal(uint64_t capacity_bytes) {
  return kvstore::CreateInProcessBlockClient({.capacity_bytes = capacity_bytes}).value();
}

class PromptFixture : public testing::Test {
 protected:
  PromptRun Begin(PrefixCache& cache, const TestPrompt& prompt, const PrefixRequest& request) {
    return {pool_.get(), prompt, cache.LookUp(request)};
  }
  static void Compute(PrefixCache& cache, PromptRun* run, int end) {
    run->ComputeTo(end);
    EXPECT_OK(cache.SealCompleted());
  }
  // A sequence comes, computes the prompt and goes.
  void Read(PrefixCache& cache, const TestPrompt& prompt) {
    PromptRun run = Begin(cache, prompt, prompt.Request(100));
    Compute(cache, &run, prompt.size());
    EXPECT_TRUE(run.IsRight(prompt.size()));
  }

  const std::unique_ptr<kv::KvPool> pool_ = kv::KvPool::Create(kTestLayout, 1 << 14).value();
};

// True: two clients of one store; false: one client, which both sequences use.
class PrefixCacheTest : public PromptFixture, public testing::WithParamInterface<bool> {
 protected:
  void Open(uint64_t store_bytes = 1 << 20) {
    if (GetParam()) {
      store_ = std::make_unique<RunningStore>(store_bytes);
      reader_client_ = store_->Connect();
      reader_ = std::make_unique<PrefixCache>(reader_client_.get(), kTestLayout, RealClock());
    }
    writer_client_ = GetParam() ? store_->Connect() : CreateLocal(store_bytes);
    writer_ = std::make_unique<PrefixCache>(writer_client_.get(), kTestLayout, RealClock());
  }
  // All sequences have gone.
  void TearDown() override {
    EXPECT_EQ(writer_client_->gauges().num_leases, 0u);
    EXPECT_EQ(reader_client().gauges().num_leases, 0u);
  }
  PrefixCache& writer() { return *writer_; }
  PrefixCache& reader() { return reader_ == nullptr ? *writer_ : *reader_; }
  BlockClient& reader_client() {
    return reader_client_ == nullptr ? *writer_client_ : *reader_client_;
  }

  std::unique_ptr<RunningStore> store_;
  std::unique_ptr<BlockClient> writer_client_, reader_client_;  // no reader: both are the writer
  std::unique_ptr<PrefixCache> writer_, reader_;
  const TestPrompt prompt_ = MakePrompt({5, 7, 8}, 3);
};

INSTANTIATE_TEST_SUITE_P(Stores, PrefixCacheTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Shared" : "InProcess"; });

TEST_P(PrefixCacheTest, AColdPromptIsWrittenInPlaceAndAWarmOneFindsIt) {
  Open();
  Hit claimed = writer().LookUp(prompt_.Request(1));
  EXPECT_EQ(KindsOf(claimed), "ccc");
  EXPECT_EQ(claimed.num_cached_tokens, 0);
  PromptRun cold(pool_.get(), prompt_, std::move(claimed));
  Compute(writer(), &cold, 9);
  const std::byte* const place = cold.KeyAt(6);
  Compute(writer(), &cold, 23);
  EXPECT_EQ(cold.KeyAt(6), place);
  EXPECT_TRUE(cold.IsRight(23));
  EXPECT_EQ(pool_->num_blocks(), 1) << "of the tail";

  Hit found = reader().LookUp(prompt_.Request(2));
  EXPECT_EQ(KindsOf(found), "fff");
  EXPECT_EQ(found.num_cached_tokens, 20);
  EXPECT_FALSE(found.in_progress);
  PromptRun warm(pool_.get(), prompt_, std::move(found));
  EXPECT_TRUE(warm.IsRight(20));
  Compute(reader(), &warm, 23);
  EXPECT_TRUE(warm.IsRight(23));
  const PromptRun again = Begin(writer(), prompt_, prompt_.Request(3));
  EXPECT_EQ(again.KeyAt(6), place);
}

TEST_P(PrefixCacheTest, AHitEndsAtASentenceEndThatMayBeCached) {
  Open();
  Read(writer(), prompt_);
  const struct {
    int max_cached_tokens;
    int num_cached_tokens;
    const char* kinds;
  } kCases[] = {{0, 0, "---"},   {4, 0, "---"},   {5, 5, "f--"},   {11, 5, "f--"},
                {12, 12, "ff-"}, {19, 12, "ff-"}, {20, 20, "fff"}, {23, 20, "fff"}};
  for (const auto& c : kCases) {
    PrefixRequest request = prompt_.Request(1);
    request.max_cached_tokens = c.max_cached_tokens;
    Hit hit = reader().LookUp(request);
    EXPECT_EQ(hit.num_cached_tokens, c.num_cached_tokens) << c.max_cached_tokens;
    EXPECT_EQ(KindsOf(hit), c.kinds) << c.max_cached_tokens;
    PromptRun run(pool_.get(), prompt_, std::move(hit));
    Compute(reader(), &run, 23);
    EXPECT_TRUE(run.IsRight(23));
  }
}

TEST_P(PrefixCacheTest, APromptThatGoesOnDifferentlySharesItsBeginning) {
  Open();
  Read(writer(), prompt_);
  TestPrompt other = prompt_;
  other.tokens[12] = 99;
  Hit hit = reader().LookUp(other.Request(1));
  EXPECT_EQ(KindsOf(hit), "ffc");
  PromptRun run(pool_.get(), other, std::move(hit));
  Compute(reader(), &run, 23);
  EXPECT_TRUE(run.IsRight(23));
  EXPECT_EQ(writer().LookUp(other.Request(2)).num_cached_tokens, 20);
}

TEST_P(PrefixCacheTest, WhatIsBeingWrittenIsWaitedForAndThenFound) {
  Open();
  PromptRun first = Begin(writer(), prompt_, prompt_.Request(1));
  Compute(writer(), &first, 6);
  const uint64_t num_leases = reader_client().gauges().num_leases;
  {
    const Hit hit = reader().LookUp(prompt_.Request(2));
    EXPECT_TRUE(hit.in_progress);
    EXPECT_EQ(KindsOf(hit), "f");
    EXPECT_EQ(hit.num_cached_tokens, 5);
    EXPECT_EQ(reader_client().gauges().num_leases, num_leases + 1) << "that of the hit";
  }
  EXPECT_EQ(reader().counters().num_waits, 1u);
  Compute(writer(), &first, 12);
  EXPECT_THAT(reader().TakeReady(), IsEmpty()) << "the third sentence is being written";
  Compute(writer(), &first, 23);
  EXPECT_THAT(AwaitReady(reader()), ElementsAre(2u));
  const Hit hit = reader().LookUp(prompt_.Request(2));
  EXPECT_FALSE(hit.in_progress);
  EXPECT_EQ(hit.num_cached_tokens, 20);
  EXPECT_THAT(reader().TakeReady(), IsEmpty());
}

TEST_P(PrefixCacheTest, WhoeverWaitsClaimsNothing) {
  Open();
  PromptRun first = Begin(writer(), prompt_, prompt_.Request(1));
  TestPrompt longer = MakePrompt({5, 7, 8, 6}, 3);
  const Hit waiting = reader().LookUp(longer.Request(2));
  EXPECT_TRUE(waiting.in_progress);
  EXPECT_EQ(KindsOf(waiting), "");
  Compute(writer(), &first, 23);
  EXPECT_EQ(KindsOf(writer().LookUp(longer.Request(3))), "fffc");
}

TEST_P(PrefixCacheTest, AWaiterWritesWhatItsWriterGivesUp) {
  Open();
  std::optional<PromptRun> first = Begin(writer(), prompt_, prompt_.Request(1));
  Compute(writer(), &*first, 7);
  EXPECT_TRUE(reader().LookUp(prompt_.Request(2)).in_progress);
  first.reset();
  EXPECT_OK(writer().SealCompleted());
  EXPECT_THAT(AwaitReady(reader()), ElementsAre(2u));
  Hit hit = reader().LookUp(prompt_.Request(2));
  EXPECT_FALSE(hit.in_progress);
  EXPECT_EQ(KindsOf(hit), "fcc");
  PromptRun second(pool_.get(), prompt_, std::move(hit));
  Compute(reader(), &second, 23);
  EXPECT_TRUE(second.IsRight(23));
  EXPECT_EQ(writer().LookUp(prompt_.Request(3)).num_cached_tokens, 20);
}

TEST_P(PrefixCacheTest, AllWhoWaitAreTold) {
  Open();
  std::optional<PromptRun> first = Begin(writer(), prompt_, prompt_.Request(1));
  for (const SequenceId id : {4, 2, 3}) {
    EXPECT_TRUE(reader().LookUp(prompt_.Request(id)).in_progress);
  }
  reader().StopWaiting(3);
  first.reset();
  EXPECT_OK(writer().SealCompleted());
  EXPECT_THAT(AwaitReady(reader()), ElementsAre(2u, 4u));
}

TEST_P(PrefixCacheTest, WhoeverMayNotWaitGoesOnAlone) {
  Open();
  const PromptRun first = Begin(writer(), prompt_, prompt_.Request(1));
  TestPrompt longer = MakePrompt({5, 7, 8, 6}, 3);
  Hit hit = reader().LookUp(longer.Request(2, /*may_wait=*/false));
  EXPECT_FALSE(hit.in_progress);
  EXPECT_EQ(KindsOf(hit), "---c");
  PromptRun second(pool_.get(), longer, std::move(hit));
  Compute(reader(), &second, 29);
  EXPECT_TRUE(second.IsRight(29));
  EXPECT_EQ(reader().counters().num_waits, 0u);
}

TEST_P(PrefixCacheTest, OnlyWhatMayBeCachedIsWaitedFor) {
  Open();
  PromptRun first = Begin(writer(), prompt_, prompt_.Request(1));
  PrefixRequest request = prompt_.Request(2);
  request.max_cached_tokens = 19;
  EXPECT_TRUE(reader().LookUp(request).in_progress);
  Compute(writer(), &first, 12);
  EXPECT_THAT(AwaitReady(reader()), ElementsAre(2u));
  const Hit hit = reader().LookUp(request);
  EXPECT_FALSE(hit.in_progress);
  EXPECT_EQ(KindsOf(hit), "ff-");
}

TEST_P(PrefixCacheTest, AFullStoreGivesNoBlocksAndNothingFails) {
  Open(20480);
  const TestPrompt large = MakePrompt({60, 60, 60, 60}, 1);
  PromptRun first = Begin(writer(), large, large.Request(1));
  EXPECT_EQ(writer().counters().num_claimed_blocks, 2u);
  EXPECT_EQ(writer().counters().num_failed_blocks, 2u);
  Compute(writer(), &first, 241);
  EXPECT_TRUE(first.IsRight(241));
  const TestPrompt other = MakePrompt({60, 60}, 1, /*first=*/9);
  Hit none = reader().LookUp(other.Request(2));
  EXPECT_EQ(KindsOf(none), "--");
  PromptRun second(pool_.get(), other, std::move(none));
  Compute(reader(), &second, 121);
  EXPECT_TRUE(second.IsRight(121));
  EXPECT_EQ(KindsOf(reader().LookUp(large.Request(3))), "ff--");
}

TEST_P(PrefixCacheTest, AnotherRootSharesNothing) {
  Open();
  PromptRun first = Begin(writer(), prompt_, prompt_.Request(1));
  PrefixRequest request = prompt_.Request(2);
  request.root = RootKey({.tenant_salt = "another", .model_name = "test"});
  EXPECT_EQ(KindsOf(reader().LookUp(request)), "ccc");
  Compute(writer(), &first, 23);
  EXPECT_EQ(KindsOf(reader().LookUp(request)), "ccc");
}

TEST_P(PrefixCacheTest, ADamagedBlockEndsTheHit) {
  Open();
  std::byte* place = nullptr;
  {
    PromptRun cold = Begin(writer(), prompt_, prompt_.Request(1));
    Compute(writer(), &cold, 23);
    place = cold.KeyAt(6);
  }
  *place ^= std::byte{1};
  Hit hit = reader().LookUp(prompt_.Request(2));
  EXPECT_FALSE(hit.in_progress);
  EXPECT_EQ(hit.num_cached_tokens, 5);
  EXPECT_EQ(KindsOf(hit).substr(0, 1), "f");
  EXPECT_THAT(KindsOf(hit).substr(1), testing::Not(testing::HasSubstr("f")));
  PromptRun run(pool_.get(), prompt_, std::move(hit));
  Compute(reader(), &run, 23);
  EXPECT_TRUE(run.IsRight(23));
}

TEST_P(PrefixCacheTest, AHitIsCutToWhatTheRanksAgreeOn) {
  Open();
  Read(writer(), prompt_);
  const TestPrompt longer = MakePrompt({5, 7, 8, 6}, 3);
  for (const int agreed : {20, 12, 5, 0}) {
    SCOPED_TRACE(agreed);
    Hit hit = reader().LookUp(longer.Request(1));
    EXPECT_EQ(KindsOf(hit), "fffc");
    hit.Truncate(agreed);
    EXPECT_EQ(hit.num_cached_tokens, agreed);
    EXPECT_EQ(KindsOf(hit), agreed == 20   ? "fffc"
                            : agreed == 12 ? "ff-c"
                            : agreed == 5  ? "f--c"
                                           : "---c");
    EXPECT_EQ(reader_client().gauges().num_leases, agreed == 0 ? 1u : 2u);
    PromptRun run(pool_.get(), longer, std::move(hit));
    run.ComputeTo(25);
    EXPECT_TRUE(run.IsRight(25));
  }
}

TEST_P(PrefixCacheTest, ClaimsThatNotAllRanksHaveAreGivenUp) {
  Open();
  {
    PromptRun first = Begin(writer(), prompt_, prompt_.Request(1));
    Compute(writer(), &first, 6);
  }
  Hit hit = writer().LookUp(prompt_.Request(2));
  EXPECT_EQ(KindsOf(hit), "fcc");
  EXPECT_EQ(hit.num_offered, 3u);
  hit.KeepClaims(2);
  EXPECT_EQ(KindsOf(hit), "fc-");
  hit.KeepClaims(0);
  EXPECT_EQ(KindsOf(hit), "f--") << "the hit stays";
  EXPECT_OK(writer().SealCompleted());
  EXPECT_EQ(KindsOf(reader().LookUp(prompt_.Request(3))), "fcc");
}

TEST_P(PrefixCacheTest, BlocksOutliveTheSequenceThatWroteThem) {
  Open();
  {
    PromptRun first = Begin(writer(), prompt_, prompt_.Request(1));
    first.ComputeTo(23);
  }
  EXPECT_OK(writer().SealCompleted());
  EXPECT_EQ(writer_client_->gauges().num_leases, 0u);
  EXPECT_EQ(reader().LookUp(prompt_.Request(2)).num_cached_tokens, 20);
}

TEST_P(PrefixCacheTest, AForkHoldsTheLeasesOfItsPrompt) {
  Open();
  Read(writer(), prompt_);
  std::optional<PromptRun> run = Begin(reader(), prompt_, prompt_.Request(1));
  Compute(reader(), &*run, 23);
  std::unique_ptr<kv::SequenceCache> fork = run->cache().ForkPrompt();
  run.reset();
  EXPECT_EQ(reader_client().gauges().num_leases, 1u);
  fork.reset();
  EXPECT_EQ(reader_client().gauges().num_leases, 0u);
}

TEST_P(PrefixCacheTest, BlocksMayOutliveTheCacheThatFoundAndClaimedThem) {
  Open();
  PromptRun run = Begin(writer(), prompt_, prompt_.Request(1));
  run.ComputeTo(9);
  writer_ = std::make_unique<PrefixCache>(writer_client_.get(), kTestLayout, RealClock());
  EXPECT_OK(writer().SealCompleted());
  run.ComputeTo(23);
  EXPECT_TRUE(run.IsRight(23));
}

TEST_P(PrefixCacheTest, CountsWhatItDid) {
  Open();
  Read(writer(), prompt_);
  Read(writer(), prompt_);
  const PrefixCounters& counters = writer().counters();
  EXPECT_EQ(counters.num_looked_up_tokens, 46u);
  EXPECT_EQ(counters.num_hit_tokens, 20u);
  EXPECT_EQ(counters.num_waits, 0u);
  EXPECT_EQ(counters.num_claimed_blocks, 3u);
  EXPECT_EQ(counters.num_sealed_blocks, 3u);
  EXPECT_EQ(counters.num_private_blocks, 0u);
  EXPECT_EQ(counters.num_failed_blocks, 0u);
}

class SharedStoreTest : public PromptFixture {
 protected:
  RunningStore store_{1 << 20};
  const TestPrompt prompt_ = MakePrompt({5, 7, 8}, 3);
};

TEST_F(SharedStoreTest, AStoreThatIsLostTakesNothingFromWhoReadsOrWrites) {
  const auto client = store_.Connect();
  PrefixCache cache(client.get(), kTestLayout, RealClock());
  Read(cache, prompt_);
  const TestPrompt other = MakePrompt({5, 7, 8}, 3, /*first=*/90);
  {
    PromptRun warm = Begin(cache, prompt_, prompt_.Request(1));
    PromptRun cold = Begin(cache, other, other.Request(2));
    EXPECT_TRUE(cache.LookUp(other.Request(3)).in_progress);
    Compute(cache, &cold, 6);
    store_.Stop();
    EXPECT_THAT(AwaitReady(cache), ElementsAre(3u));
    Compute(cache, &cold, 23);
    Compute(cache, &warm, 23);
    EXPECT_TRUE(cold.IsRight(23));
    EXPECT_TRUE(warm.IsRight(23));
    EXPECT_EQ(cache.counters().num_private_blocks, 2u);
    const Hit none = cache.LookUp(prompt_.Request(4));
    EXPECT_FALSE(none.in_progress);
    EXPECT_EQ(KindsOf(none), "---");
  }
  EXPECT_EQ(client->gauges().num_leases, 0u);
}

TEST_F(SharedStoreTest, WithoutTheStoreAClientThatReconnectsGoesOnInItsProcess) {
  kvstore::ReconnectingBlockClient client([this] { return store_.TryConnect(); },
                                          [] { return CreateLocal(1 << 20); }, {});
  client.Poll(RealClock().Now());
  PrefixCache cache(&client, kTestLayout, RealClock());
  PromptRun first = Begin(cache, prompt_, prompt_.Request(1));
  Compute(cache, &first, 6);
  store_.Stop();
  Compute(cache, &first, 23);
  Hit again = cache.LookUp(prompt_.Request(2));
  EXPECT_EQ(KindsOf(again), "ccc");
  PromptRun second(pool_.get(), prompt_, std::move(again));
  Compute(cache, &second, 23);
  EXPECT_TRUE(first.IsRight(23));
  EXPECT_EQ(cache.LookUp(prompt_.Request(3)).num_cached_tokens, 20);
}

TEST_F(SharedStoreTest, AGroupsBlocksAreFoundOnceAllItsRanksHaveSealedThem) {
  const std::unique_ptr<BlockClient> clients[] = {store_.Connect(0, 2), store_.Connect(1, 2)};
  PrefixCache first(clients[0].get(), kTestLayout, RealClock());
  PrefixCache second(clients[1].get(), kTestLayout, RealClock());
  PromptRun on_first = Begin(first, prompt_, prompt_.Request(1));
  PromptRun on_second = Begin(second, prompt_, prompt_.Request(1));
  Compute(first, &on_first, 23);
  EXPECT_EQ(first.counters().num_sealed_blocks, 3u);
  EXPECT_TRUE(first.LookUp(prompt_.Request(2)).in_progress);
  Compute(second, &on_second, 23);
  EXPECT_THAT(AwaitReady(first), ElementsAre(2u));
  EXPECT_EQ(KindsOf(first.LookUp(prompt_.Request(2))), "fff");
  EXPECT_EQ(KindsOf(second.LookUp(prompt_.Request(2))), "fff");
}

// A second group comes between the two ranks of the first.
TEST_F(SharedStoreTest, AGroupWhoseLeaderWaitsTakesNothingFromTheOneThatWrites) {
  const std::unique_ptr<BlockClient> clients[] = {store_.Connect(0, 2), store_.Connect(1, 2),
                                                  store_.Connect(0, 2), store_.Connect(1, 2)};
  PrefixCache leader(clients[0].get(), kTestLayout, RealClock());
  PrefixCache follower(clients[1].get(), kTestLayout, RealClock());
  PrefixCache waiting(clients[2].get(), kTestLayout, RealClock());
  PrefixCache its_follower(clients[3].get(), kTestLayout, RealClock());
  PromptRun on_leader = Begin(leader, prompt_, prompt_.Request(1));
  EXPECT_TRUE(waiting.LookUp(prompt_.Request(2)).in_progress);
  EXPECT_EQ(KindsOf(its_follower.Find(prompt_.Request(2))), "");
  EXPECT_OK(its_follower.SealCompleted());

  Hit hit = follower.Find(prompt_.Request(1));
  follower.ClaimRest(prompt_.Request(1), &hit);
  EXPECT_EQ(KindsOf(hit), "ccc");
  PromptRun on_follower(pool_.get(), prompt_, std::move(hit));
  Compute(leader, &on_leader, 23);
  Compute(follower, &on_follower, 23);
  EXPECT_THAT(AwaitReady(waiting), ElementsAre(2u));
  EXPECT_EQ(KindsOf(waiting.LookUp(prompt_.Request(2))), "fff");
  EXPECT_EQ(KindsOf(its_follower.Find(prompt_.Request(2))), "fff");
}

}  // namespace
}  // namespace skv::prefix
