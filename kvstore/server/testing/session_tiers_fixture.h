#pragma once
// A session handler with two tiers below its store, "nvme" and "redis", and a scrubber. One thread;
// time and tiers do what the test says.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/types/span.h"
#include "common/testing/fake_clock.h"
#include "gtest/gtest.h"
#include "kvstore/server/testing/sentences.h"
#include "kvstore/server/testing/session_handler_fixture.h"
#include "kvstore/tier/testing/fake_tier.h"
#include "kvstore/tiering/scrubber.h"
#include "kvstore/tiering/testing/inline_owner.h"
#include "kvstore/tiering/tier_mover.h"

namespace skv::kvstore {

inline Hello HelloOfRank(uint32_t rank, uint32_t world_size) {
  Hello hello = TestHello();
  hello.rank = rank;
  hello.world_size = world_size;
  return hello;
}

class SessionTiersFixture : public SessionHandlerFixture {
 protected:
  explicit SessionTiersFixture(int num_blocks = 30)
      : SessionHandlerFixture(num_blocks, /*num_own_sessions=*/2) {
    options_.max_waits_per_session = 100;
    clock_.Advance(std::chrono::seconds(1));
    Advance(std::chrono::seconds(0));
    Begin({});
  }
  void Begin(const SoughtLimits& limits) {
    TierDeskOptions options;
    options.limits = limits;
    options.on_seek_end = [this](Duration) { ++num_ended_; };
    options.on_report = [this](absl::Span<const EntryKey> keys) { scrubber_->Report(keys); };
    desk_ = std::make_unique<TierDesk>(options, &store_, arena_,
                                       std::vector<TierInbox*>{&nvme_inbox_, &redis_inbox_});
    options_.tiers = desk_.get();
    CreateHandler();
    owner_ = std::make_unique<InlineOwner>(desk_.get(), [this] { handler_->TellNews(); });
    scrubber_ = std::make_unique<Scrubber>(
        ScrubberOptions{.bytes_per_second = 10'000, .max_reports = 10}, owner_.get(), &clock_);
    movers_.clear();
    for (size_t i = 0; i < 2; ++i) {
      movers_.push_back(std::make_unique<TierMover>(
          TierMoverOptions(), i == 0 ? &nvme_ : &redis_,
          std::vector<TierInbox*>{&nvme_inbox_, &redis_inbox_}, i, owner_.get(), &clock_));
    }
  }
  void Advance(Duration by) {
    clock_.Advance(by);
    now_ = clock_.Now();
    if (handler_ != nullptr) handler_->Expire(now_);
  }
  // Tiers do all that there is to do now.
  void Settle() {
    for (int i = 0; i < 10; ++i) {
      for (const auto& mover : movers_) ASSERT_TRUE(mover->Step(clock_.Now()));
    }
  }
  // Sealed and released, one after the other.
  void Store(ClientId id, const std::vector<Sentence>& chain, const Hello& hello = TestHello()) {
    for (const Sentence& sentence : chain) {
      const CreateReplyItem created = CreateBy(id, sentence);
      ASSERT_EQ(created.outcome, CreateOutcome::kCreated);
      Write(sentence, created.range, hello);
      ASSERT_EQ(SealBy(id, created.lease).code, absl::StatusCode::kOk);
      ASSERT_EQ(ReleaseBy(id, created.lease), absl::StatusCode::kOk);
    }
  }
  // The same by the two ranks of a group, each of which has bytes of its own.
  void StoreByRanks(const ClientId (&ranks)[2], const std::vector<Sentence>& chain) {
    for (size_t i = 0; i < chain.size(); ++i) {
      LeaseHandle leases[2] = {};
      for (uint32_t rank = 0; rank < 2; ++rank) {
        const CreateReplyItem created = CreateBy(ranks[rank], chain[i]);
        Sentence sentence = chain[i];
        sentence.fill = FillOf(rank, i);
        Write(sentence, created.range, HelloOfRank(rank, 2));
        leases[rank] = created.lease;
        EXPECT_EQ(SealBy(ranks[rank], created.lease).is_visible, rank == 1);
      }
      for (int rank = 0; rank < 2; ++rank) ReleaseBy(ranks[rank], leases[rank]);
    }
  }
  static std::byte FillOf(uint32_t rank, size_t i) {
    return static_cast<std::byte>(100 * size_t{rank} + i);
  }
  // The arena forgets all that nobody holds.
  void Forget() {
    while (!store_.Purge(std::nullopt, 100, now_).is_done) {
    }
    handler_->TellNews();
  }
  // What the tiers have, and the arena does not.
  void Demote(ClientId id, const std::vector<Sentence>& chain) {
    Store(id, chain);
    Settle();
    Forget();
  }
  GetReply GetBy(ClientId id, const std::vector<Sentence>& chain) {
    return Ask<GetReply>(id, Get{KeysOf(chain)});
  }
  std::vector<CreateOutcome> CreateAllBy(ClientId id, const std::vector<Sentence>& chain) {
    Create request;
    for (const Sentence& sentence : chain) request.items.push_back(sentence.item);
    std::vector<CreateOutcome> outcomes;
    for (const auto& item : Ask<CreateReply>(id, request).items) outcomes.push_back(item.outcome);
    return outcomes;
  }
  void WaitBy(ClientId id, const Sentence& sentence) {
    ASSERT_EQ(Ask<WaitReply>(id, Wait{{sentence.item.key}}), WaitReply{});
  }
  // How many of the chain the client finds, all whole; it holds none of them then.
  size_t NumFound(ClientId id, const std::vector<Sentence>& chain,
                  const Hello& hello = TestHello()) {
    const GetReply reply = GetBy(id, chain);
    for (size_t i = 0; i < reply.blocks.size(); ++i) {
      const ArenaRange& range = reply.blocks[i];
      EXPECT_TRUE(
          IsIntact(chain[i], hello, std::span(arena_).subspan(range.offset, range.num_bytes)));
    }
    if (!reply.blocks.empty()) ReleaseBy(id, reply.lease);
    return reply.blocks.size();
  }
  static TierKey KeyOf(const Sentence& sentence, uint32_t rank = 0) {
    return {{sentence.item.key, TestHello().layout}, rank};
  }
  TierDeskGauges Gauges() const { return desk_->gauges(); }
  void ExpectNothingIsLeft() {
    EXPECT_EQ(Gauges().num_sought_keys, 0u);
    EXPECT_EQ(Gauges().num_sought_chains, 0u);
    EXPECT_EQ(store_.gauges().index.num_leases, 0u);
  }

  FakeClock clock_;
  FakeTier nvme_{"nvme"}, redis_{"redis"};
  TierInbox nvme_inbox_{{.max_writes = 30}}, redis_inbox_{{.max_writes = 30}};
  std::unique_ptr<TierDesk> desk_;
  std::unique_ptr<InlineOwner> owner_;
  std::vector<std::unique_ptr<TierMover>> movers_;
  std::unique_ptr<Scrubber> scrubber_;
  int num_ended_ = 0;
};

}  // namespace skv::kvstore
