#pragma once
// Stands in for skv-kvstore: answers the frames of any number of sessions from a BlockStore in a
// sealed memfd. One thread, no limits, no backlog of its own: a test's few small frames fit into
// the sockets. Replies can be changed, left out, or made the store's last act.

#include <array>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/container/flat_hash_set.h"
#include "common/mutex.h"
#include "kvstore/arena/arena.h"
#include "kvstore/session/frames.h"
#include "kvstore/session/session_listener.h"
#include "kvstore/store/block_store.h"

namespace skv::kvstore {

struct FakeKvstoreOptions {
  uint64_t arena_bytes = 1 << 20;
  // Of all chains: a Create says no root, and the store compares it with the header's.
  PrefixKey root;
  uint32_t max_requests = 64;
  std::array<uint8_t, 16> epoch = {};
};

class FakeKvstore {
 public:
  enum class Act {
    kSend,
    kKeepSilent,
    kDie,  // close all sockets, without the reply
  };
  // Sees what the store is about to send. Runs in the store's thread.
  using Tamper = std::function<Act(Frame* frame)>;

  // Listens at `path`.
  FakeKvstore(const std::string& path, const FakeKvstoreOptions& options);
  ~FakeKvstore();

  void set_tamper(Tamper tamper);
  // Passed along with each Welcome in place of the arena's; -1: none. Stays the caller's.
  void set_welcome_fd(int fd);
  BlockStoreGauges gauges() const;

 private:
  struct Client {
    explicit Client(SessionSocket accepted) : socket(std::move(accepted)) {}
    SessionSocket socket;
    SessionId session;
    Hello hello;
    absl::flat_hash_set<PrefixKey> awaited;
    bool is_gone = false;
  };

  void Run();
  void Serve(Client* client) SKV_REQUIRES(mutex_);
  FrameBody Answer(Client* client, const FrameBody& request) SKV_REQUIRES(mutex_);
  FrameBody AnswerCreate(const Client& client, const Create& create) SKV_REQUIRES(mutex_);
  FrameBody AnswerSeal(const Client& client, const Seal& seal) SKV_REQUIRES(mutex_);
  FrameBody AnswerGet(const Client& client, const Get& get) SKV_REQUIRES(mutex_);
  FrameBody AnswerRelease(const Client& client, const Release& release) SKV_REQUIRES(mutex_);
  FrameBody AnswerWait(Client* client, const Wait& wait) SKV_REQUIRES(mutex_);
  FrameBody AnswerReport(const Client& client, const Report& report) SKV_REQUIRES(mutex_);
  void Send(Client* client, Frame frame) SKV_REQUIRES(mutex_);
  void SendNotices() SKV_REQUIRES(mutex_);
  bool IsVisible(const Client& client, const PrefixKey& key) SKV_REQUIRES(mutex_);
  void RemoveGone() SKV_REQUIRES(mutex_);

  const FakeKvstoreOptions options_;
  const std::unique_ptr<Arena> arena_;
  Descriptor stop_;       // readable once the store is to end
  Descriptor stop_peer_;  // closed for that
  FrameBuffer buffer_;    // the thread's

  mutable Mutex mutex_;
  BlockStore store_ SKV_GUARDED_BY(mutex_);
  std::unique_ptr<SessionListener> listener_ SKV_GUARDED_BY(mutex_);
  std::list<Client> clients_ SKV_GUARDED_BY(mutex_);
  absl::flat_hash_set<PrefixKey> writing_ SKV_GUARDED_BY(mutex_);
  Tamper tamper_ SKV_GUARDED_BY(mutex_);
  int welcome_fd_ SKV_GUARDED_BY(mutex_);
  bool is_dead_ SKV_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace skv::kvstore
