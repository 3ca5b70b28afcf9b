#pragma once
// What Read calls hold of the store: one lease each, on the chain whose blocks are being sent. A
// call, and every piece of a block that gRPC has not sent yet, refer to the call's ReadHold; the
// lease ends with the last of them. That is how memory of the arena can be handed to gRPC as it is:
// a block cannot go before its last byte has left.
//
// How long that is: a call ends by its deadline at the latest. What its connection was sending just
// then goes on until the caller's machine takes it or gRPC closes the connection, which it does
// where a caller does not answer (keepalive, kvstore_server.cc). Until then the hold counts as a
// stream, so there are never more of them.

#include <cstdint>
#include <memory>

#include "common/mutex.h"
#include "kvstore/server/command_store_owner.h"

namespace skv::kvstore {

// A snapshot; totals are since the start.
struct ReadGauges {
  uint32_t num_streams = 0;
  uint64_t num_held_bytes = 0;   // of blocks under their leases
  uint64_t num_reads = 0;        // total: calls that were let in
  uint64_t num_refused = 0;      // total: beyond the most streams
  uint64_t num_sent_blocks = 0;  // total: of calls that ended well
  uint64_t num_sent_bytes = 0;   // total: likewise
};

class ReadHold;

// The holds of all Read calls. Thread-safe.
class ReadHolds {
 public:
  // `owner` lives until Close.
  ReadHolds(uint32_t max_streams, CommandStoreOwner* owner)
      : state_(std::make_shared<State>(max_streams, owner)) {}
  ~ReadHolds() { Close(); }
  ReadHolds(const ReadHolds&) = delete;
  ReadHolds& operator=(const ReadHolds&) = delete;

  // A place for one more stream. nullptr: there are as many as may be.
  std::shared_ptr<ReadHold> Take();
  // Leases that end from now on are not given back: for when the store ends.
  void Close();
  void CountSent(const HeldChain& chain);

  ReadGauges gauges() const;

 private:
  friend class ReadHold;
  // Outlives this where gRPC still refers to blocks.
  struct State {
    State(uint32_t max_streams, CommandStoreOwner* owner)
        : max_streams(max_streams), owner(owner) {}

    const uint32_t max_streams;
    mutable Mutex mutex;
    CommandStoreOwner* owner SKV_GUARDED_BY(mutex);  // nullptr: closed
    ReadGauges gauges SKV_GUARDED_BY(mutex);
  };

  const std::shared_ptr<State> state_;
};

class ReadHold {
 public:
  explicit ReadHold(std::shared_ptr<ReadHolds::State> state) : state_(std::move(state)) {}
  // Any thread, also with locks of gRPC held.
  ~ReadHold();
  ReadHold(const ReadHold&) = delete;
  ReadHold& operator=(const ReadHold&) = delete;

  // Once, before others read chain().
  void SetChain(HeldChain chain);
  const HeldChain& chain() const { return chain_; }

 private:
  const std::shared_ptr<ReadHolds::State> state_;
  HeldChain chain_;
  uint64_t num_bytes_ = 0;
};

}  // namespace skv::kvstore
