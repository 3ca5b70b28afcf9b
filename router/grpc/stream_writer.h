#pragma once
// The client's end of one Generate call: one write in flight, a bounded queue behind it, and an end
// to waiting for a client that has stopped reading.

#include <cstdint>
#include <deque>
#include <memory>

#include "common/clock.h"
#include "common/mutex.h"
#include "grpcpp/alarm.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/status.h"
#include "router/event.h"

namespace skv::router {

// The call that is written to: gRPC's, or a test's.
class ServerCall {
 public:
  virtual ~ServerCall() = default;
  // `bytes` stay until the one StreamWriter::OnWriteDone that this brings about.
  virtual void StartWrite(const grpc::ByteBuffer* bytes) = 0;
  // The last thing that is asked of the call.
  virtual void Finish(grpc::Status status) = 0;
  // Lets a write that waits for the client end, with ok = false.
  virtual void TryCancel() = 0;
};

struct StreamWriterOptions {
  // Events that may wait for the client. One may be larger, when no other waits.
  size_t max_buffer_bytes = size_t{1} << 20;
  // After Finish: without one event delivered for so long, the call is cancelled. max(): never.
  Duration delivery_timeout = std::chrono::seconds(30);
};

// Thread-safe. Operations on the call are started outside of the lock, since gRPC may run their
// callbacks on the same thread.
class StreamWriter : public ClientStream, public std::enable_shared_from_this<StreamWriter> {
 public:
  // `call` lives until Detach.
  StreamWriter(ServerCall* call, StreamWriterOptions options) : call_(call), options_(options) {}

  bool Write(Event event) override;
  void Finish(absl::Status status) override;

  // From the call's callbacks.
  void OnWriteDone(bool ok);
  void Detach();

 private:
  // What to do once the lock is given up.
  enum class Action { kNone, kWrite, kFinish, kCancel };
  Action NextLocked() SKV_REQUIRES(mutex_);
  void Do(Action action);
  void WatchDelivery();
  void OnDeliveryTimeout(uint64_t num_delivered_then);

  ServerCall* const call_;
  const StreamWriterOptions options_;

  Mutex mutex_;
  std::deque<grpc::ByteBuffer> queue_ SKV_GUARDED_BY(mutex_);
  size_t queued_bytes_ SKV_GUARDED_BY(mutex_) = 0;
  // Owned by the write in flight while writing_.
  grpc::ByteBuffer current_;
  bool writing_ SKV_GUARDED_BY(mutex_) = false;
  uint64_t num_delivered_ SKV_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<grpc::Alarm> alarm_ SKV_GUARDED_BY(mutex_);
  bool too_slow_ SKV_GUARDED_BY(mutex_) = false;    // the client: nothing waits for it any more
  bool cancelling_ SKV_GUARDED_BY(mutex_) = false;  // TryCancel is running: the call must stay
  bool cancelled_ SKV_GUARDED_BY(mutex_) = false;
  bool finishing_ SKV_GUARDED_BY(mutex_) = false;  // Finish was asked for
  bool finished_ SKV_GUARDED_BY(mutex_) = false;   // the call was told, or is gone
  absl::Status status_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::router
