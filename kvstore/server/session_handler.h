#pragma once
// What sessions ask of the store and what they hear: frames in, frames out. Knows no sockets.
//
// A client says Hello, and then sends requests; each is answered before the next is looked at. What
// it must not send gets an Error, after which it is not heard again. Its leases and its unsealed
// blocks stay nevertheless: they end with Disconnect only, which is for when the kernel has closed
// the client's end. So a client that the store is unhappy with, or that stands still, never sees
// its memory used for something else.
//
// Where there are tiers, what a Get does not find is sought there, and who wants to create it is
// told to wait, as for a key that another client writes (tiering/tier_desk.h).
//
// Keys that are waited for: the table of those being written is kept here, from what the store says
// of each. A client may wait for so many keys at once, those that it was not yet told of included,
// so what must be kept for a client that does not read is bounded: one frame and one Notice.
//
// Not thread-safe: one owner. Whoever else changes the store calls TellNews then.

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/clock.h"
#include "kvstore/index/slab.h"
#include "kvstore/server/event_feed.h"
#include "kvstore/server/wait_table.h"
#include "kvstore/session/frames.h"
#include "kvstore/store/block_store.h"
#include "kvstore/tiering/tier_desk.h"

namespace skv::kvstore {

struct SessionHandlerOptions {
  std::array<uint8_t, 16> epoch = {};  // random, of this process
  uint64_t arena_bytes = 0;
  uint32_t max_clients = 1024;  // connected, with a session or before it
  uint32_t max_leases_per_session = 1 << 16;
  uint32_t max_requests = 64;  // what Welcome says; whoever sends more waits longer
  uint32_t max_waits_per_session = kMaxFrameItems;
  std::map<std::string, TenantIdx> tenants;  // by name; all others are tenant 0
  EventFeed* events = nullptr;  // gets what Watch is to hear; outlives the handler. nullptr: nobody
  // Of the same store; outlives the handler, and takes a session of the store as well. nullptr: the
  // arena is all that there is.
  TierDesk* tiers = nullptr;
};

enum class RequestKind { kCreate, kSeal, kGet, kRelease, kWait, kReport };
inline constexpr std::string_view kRequestKindNames[] = {"create",  "seal", "get",
                                                         "release", "wait", "report"};

// A snapshot; totals are since the start.
struct SessionGauges {
  uint32_t num_clients = 0;
  uint32_t num_sessions = 0;  // clients that were welcomed and have not disconnected
  uint64_t num_waits = 0;
  std::array<uint64_t, std::size(kRequestKindNames)> num_requests = {};  // by RequestKind
  uint64_t num_hit_blocks = 0, num_missed_blocks = 0;                    // of the keys of Gets
  uint64_t num_refused_blocks = 0;  // Creates for which there was no room
  uint64_t num_errors = 0;          // clients that got an Error
};

class SessionHandler {
  struct Client;

 public:
  using ClientId = Handle<Client>;

  // `store` outlives the handler, and has room for a session more than clients shall have: the
  // handler looks for keys under one of its own.
  SessionHandler(const SessionHandlerOptions& options, BlockStore* store);
  SessionHandler(const SessionHandler&) = delete;
  SessionHandler& operator=(const SessionHandler&) = delete;

  // nullopt: max_clients are there.
  std::optional<ClientId> Connect();
  // The kernel has closed the client's end: all that it held ends.
  void Disconnect(ClientId client);

  // What the client sent. REQUIRES: MayReceive(client).
  void Receive(ClientId client, std::string_view frame, TimePoint now);
  // False while something waits to be sent, and after an Error.
  bool MayReceive(ClientId client) const;

  // The client gets an Error, and is not heard again. REQUIRES: MayReceive(client).
  void Fail(ClientId client, const absl::Status& status, uint64_t request_id = 0);
  // Nothing reaches the client any more: like Fail, without a word.
  void Silence(ClientId client);

  struct Output {
    std::string_view frame;     // lives until Sent
    bool passes_arena = false;  // the arena's descriptor goes along
  };
  // What is to be sent next; nullopt: nothing.
  std::optional<Output> NextOutput(ClientId client);
  // REQUIRES: NextOutput(client) was not nullopt. It was sent.
  void Sent(ClientId client);

  // Tells clients and Watch what has become of the store. For whoever else changes it; what clients
  // do is told without it.
  void TellNews();

  // Ends what tiers take too long for. To be called by NextDeadline, TimePoint::max(): never.
  void Expire(TimePoint now);
  TimePoint NextDeadline() const;

  // Clients that something is to be sent to because of others; each once, since the last call.
  std::vector<ClientId> TakeNotified();

  bool IsConnected(ClientId client) const { return clients_.IsLive(client); }
  // It got an Error, or was silenced.
  bool HasFailed(ClientId client) const;
  // It has a session, and so may hold leases.
  bool HasSession(ClientId client) const;

  SessionGauges gauges() const;

 private:
  enum class State { kGreeting, kOpen, kFailed };
  struct Client {
    State state = State::kGreeting;
    std::optional<SessionId> session;
    Hello hello;
    TenantIdx tenant = 0;
    std::string output;  // the frame to be sent; empty: none
    bool is_welcome = false;
    Notice notice;  // to be sent after it
    bool is_notified = false;
  };

  void Open(ClientId id, const Hello& hello);
  // nullopt: the client has failed.
  std::optional<FrameBody> Answer(ClientId id, const Frame& frame, TimePoint now);
  FrameBody OnCreate(const Client& client, const Create& create, TimePoint now);
  CreateReplyItem ReplyTo(const absl::StatusOr<CreatedBlock>& created);
  FrameBody OnSeal(const Client& client, const Seal& seal);
  FrameBody OnGet(const Client& client, const Get& get, TimePoint now);
  void SeekRest(const Client& client, size_t num_hit, TimePoint now);
  FrameBody OnRelease(const Client& client, const Release& release);
  FrameBody OnWait(ClientId id, const Wait& wait);
  FrameBody OnReport(const Client& client, const Report& report);
  bool IsVisible(const EntryKey& key, uint32_t rank);
  bool IsSought(const EntryKey& key) const {
    return options_.tiers != nullptr && options_.tiers->IsSought(key);
  }
  bool IsComing(const EntryKey& key) const {
    return written_.contains(key) || (options_.tiers != nullptr && options_.tiers->IsComing(key));
  }
  void TellWaiters(const EntryKey& key, std::vector<PrefixKey> Notice::*list);
  void Tell(uint32_t client, std::vector<PrefixKey> Notice::*list, const PrefixKey& key);
  void Count(RequestKind kind) { ++totals_.num_requests[static_cast<size_t>(kind)]; }

  const SessionHandlerOptions options_;
  BlockStore* const store_;
  const SessionId own_session_;
  Slab<Client> clients_;
  WaitTable waits_;
  EntryKeySet written_;  // created, and neither sealed by all ranks nor abandoned
  std::vector<ClientId> notified_;
  SessionGauges totals_;             // the totals only
  std::vector<EntryKey> keys_;       // scratch
  std::vector<ShardBytes> blocks_;   // scratch
  std::vector<NewBlock> to_create_;  // scratch
};

}  // namespace skv::kvstore
