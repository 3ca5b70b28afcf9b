#pragma once
// All Read calls. The thread that owns the store leases what a call asks for; another begins to
// send it, since gRPC may send on the thread that asks it to, and gRPC's own go on. Thread-safe.

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "kvstore/grpc/read_hold.h"
#include "kvstore/grpc/read_stream.h"
#include "kvstore/index/entry_key.h"

namespace skv::kvstore {

// What a call asks for.
struct ReadQuery {
  std::vector<EntryKey> keys;  // a chain
  uint32_t rank = 0;
};

class ReadPump {
 public:
  // `owner` outlives this object.
  ReadPump(uint32_t max_streams, CommandStoreOwner* owner);
  // REQUIRES: gRPC's server is shut down, so that all calls have ended.
  ~ReadPump();
  ReadPump(const ReadPump&) = delete;
  ReadPump& operator=(const ReadPump&) = delete;

  // The reactor of a call that begins; its lease must have been taken by `lease_deadline`.
  // ResourceExhausted: there are as many calls, or commands for the store, as may be. Unavailable:
  // the store is starting or stopping.
  absl::StatusOr<ReadStream*> Open(grpc::CallbackServerContext* context, ReadQuery query,
                                   TimePoint lease_deadline);

  ReadGauges gauges() const { return holds_.gauges(); }

 private:
  struct Ready {
    std::unique_ptr<ReadStream> stream;
    absl::Status status;
  };
  void Push(Ready ready);
  void Run();

  ReadHolds holds_;
  CommandStoreOwner* const owner_;

  Mutex mutex_;
  CondVar changed_;
  std::deque<Ready> ready_ SKV_GUARDED_BY(mutex_);  // at most one a stream
  bool is_ending_ SKV_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace skv::kvstore
