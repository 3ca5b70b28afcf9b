#pragma once
// All Watch calls, and the thread that makes them go on: when there are events, when a message has
// been written, when the store has read a page. So the thread that owns the store only notes what
// happened, and never waits for gRPC or a reader. Thread-safe.

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "kvstore/grpc/watch_stream.h"
#include "kvstore/server/command_queue.h"
#include "kvstore/server/event_feed.h"
#include "kvstore/watch/watch_message.h"

namespace skv::kvstore {

// A snapshot; totals are since the start.
struct WatchGauges {
  uint32_t num_streams = 0;
  uint64_t max_lag = 0;        // events that the slowest stream has not sent
  uint64_t num_snapshots = 0;  // total: calls that began with one
  uint64_t num_too_slow = 0;   // total: calls that ended since their readers fell behind
  uint64_t num_refused = 0;    // total: beyond the most streams
};

class WatchPump {
 public:
  // `feed`, `commands` and `clock` outlive this object.
  WatchPump(const StoreEpoch& epoch, uint32_t max_streams, EventFeed* feed, CommandQueue* commands,
            const Clock* clock);
  // REQUIRES: gRPC's server is shut down, so that all calls end.
  ~WatchPump();
  WatchPump(const WatchPump&) = delete;
  WatchPump& operator=(const WatchPump&) = delete;

  // The reactor of a call that begins. ResourceExhausted: there are as many as may be.
  // Unavailable: Stop was called.
  absl::StatusOr<WatchStream*> Open(grpc::CallbackServerContext* context,
                                    const WatchPosition& position);

  // Ends all calls with UNAVAILABLE, once what they are writing is written.
  void Stop();

  WatchGauges gauges() const;

 private:
  void Run();
  void RemoveDone() SKV_REQUIRES(mutex_);

  const StoreEpoch epoch_;
  const uint32_t max_streams_;
  EventFeed* const feed_;
  CommandQueue* const commands_;
  const Clock* const clock_;

  mutable Mutex mutex_;
  std::vector<std::shared_ptr<WatchStream>> streams_ SKV_GUARDED_BY(mutex_);
  WatchGauges totals_ SKV_GUARDED_BY(mutex_);  // the totals only
  bool is_stopping_ SKV_GUARDED_BY(mutex_) = false;
  bool is_ending_ SKV_GUARDED_BY(mutex_) = false;  // Run returns once no stream is left
  std::thread thread_;
};

}  // namespace skv::kvstore
