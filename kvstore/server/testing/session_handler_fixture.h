#pragma once
// A session handler with a store of small blocks, and clients that say frames to it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/server/session_handler.h"
#include "kvstore/server/testing/sentences.h"

namespace skv::kvstore {

inline constexpr int64_t kSmall = 192;  // bytes of MakeSentence(n)

// Four clients may be there, three of them with a session.
class SessionHandlerFixture : public testing::Test {
 protected:
  using ClientId = SessionHandler::ClientId;
  // `num_blocks` small ones fill the arena. Tests do all else that the handler is to know, then
  // call CreateHandler.
  explicit SessionHandlerFixture(int num_blocks, uint32_t num_own_sessions = 1)
      : arena_(num_blocks * kSmall), store_options_(StoreOptions(num_blocks, num_own_sessions)) {
    options_.epoch[0] = 7;
    options_.arena_bytes = arena_.size();
    options_.max_clients = 4;
    options_.max_leases_per_session = 20;
    options_.max_waits_per_session = 3;
    options_.tenants = {{"small", store_.tenants().Add(2 * kSmall).value()}};
  }
  static BlockStoreOptions StoreOptions(int num_blocks, uint32_t num_own_sessions) {
    BlockStoreOptions options;
    options.index.capacity_bytes = num_blocks * kSmall;
    options.index.max_entries = options.index.max_shards = 100;
    options.index.leases.max_sessions = 3 + num_own_sessions;
    options.index.leases.max_leases_per_session = 20;
    return options;
  }
  void CreateHandler() { handler_ = std::make_unique<SessionHandler>(options_, &store_); }

  // All that is sent to the client now.
  std::vector<Frame> Hear(ClientId id) {
    std::vector<Frame> frames;
    while (const auto output = handler_->NextOutput(id)) {
      frames.push_back(DecodeFrame(output->frame).value());
      num_arenas_passed_ += output->passes_arena ? 1 : 0;
      handler_->Sent(id);
    }
    return frames;
  }
  std::vector<Frame> Say(ClientId id, const Frame& frame) {
    handler_->Receive(id, EncodeFrame(frame).value(), now_);
    return Hear(id);
  }
  // The reply; what comes behind it is in later_.
  template <typename Reply>
  Reply Ask(ClientId id, const FrameBody& request) {
    later_ = Say(id, {++request_id_, request});
    EXPECT_FALSE(later_.empty());
    const Frame reply = later_.front();
    later_.erase(later_.begin());
    EXPECT_EQ(reply.request_id, request_id_);
    return std::get<Reply>(reply.body);
  }
  // The Error with which the frame ends the client.
  Error EndWith(ClientId id, const Frame& frame) {
    const std::vector<Frame> heard = Say(id, frame);
    EXPECT_THAT(heard, testing::SizeIs(1));
    EXPECT_EQ(heard[0].request_id, frame.request_id);
    EXPECT_TRUE(handler_->HasFailed(id));
    EXPECT_FALSE(handler_->MayReceive(id));
    return std::get<Error>(heard[0].body);
  }

  ClientId Greet(const Hello& hello = TestHello()) {
    const ClientId id = handler_->Connect().value();
    const std::vector<Frame> heard = Say(id, {0, hello});
    EXPECT_THAT(heard, testing::SizeIs(1));
    EXPECT_TRUE(std::holds_alternative<Welcome>(heard[0].body));
    return id;
  }
  CreateReplyItem CreateBy(ClientId id, const Sentence& sentence) {
    return Ask<CreateReply>(id, Create{{sentence.item}}).items[0];
  }
  SealReplyItem SealBy(ClientId id, LeaseHandle lease) {
    return Ask<SealReply>(id, Seal{{{.lease = lease}}}).items[0];
  }
  absl::StatusCode ReleaseBy(ClientId id, LeaseHandle lease) {
    return Ask<ReleaseReply>(id, Release{{lease}}).codes[0];
  }
  void Write(const Sentence& sentence, const ArenaRange& range, const Hello& hello = TestHello()) {
    WriteSentence(sentence, hello, std::span(arena_).subspan(range.offset, range.num_bytes));
  }
  // Sealed, and still leased.
  LeaseHandle Keep(ClientId id, const Sentence& sentence) {
    const CreateReplyItem created = CreateBy(id, sentence);
    EXPECT_EQ(created.outcome, CreateOutcome::kCreated);
    Write(sentence, created.range);
    EXPECT_TRUE(SealBy(id, created.lease).is_visible);
    return created.lease;
  }
  Notice NoticeTo(ClientId id) {
    const std::vector<Frame> heard = Hear(id);
    EXPECT_THAT(heard, testing::SizeIs(1));
    return std::get<Notice>(heard.at(0).body);
  }

  std::vector<std::byte> arena_;
  const BlockStoreOptions store_options_;
  BlockStore store_{store_options_, CreateLruOrder(store_options_.index.order()), arena_};
  SessionHandlerOptions options_;
  std::unique_ptr<SessionHandler> handler_;
  std::vector<Frame> later_;
  uint64_t request_id_ = 0;
  int num_arenas_passed_ = 0;
  TimePoint now_;
};

}  // namespace skv::kvstore
