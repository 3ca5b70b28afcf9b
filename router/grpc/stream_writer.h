#pragma once
// The client's end of one Generate call: one write in flight, a bounded queue behind it.

#include <deque>
#include <memory>

#include "common/mutex.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "router/event.h"

namespace skv::router {

// Thread-safe. Operations on the call are started outside of the lock, since gRPC may run their
// callbacks on the same thread.
class StreamWriter : public ClientStream {
 public:
  using Reactor = grpc::ServerWriteReactor<grpc::ByteBuffer>;

  // `reactor` and `context` live until Detach. At most `max_buffer_bytes` wait for the client.
  StreamWriter(Reactor* reactor, grpc::CallbackServerContext* context, size_t max_buffer_bytes)
      : reactor_(reactor), context_(context), max_buffer_bytes_(max_buffer_bytes) {}

  bool Write(Event event) override;
  void Finish(absl::Status status) override;

  // From the reactor's callbacks.
  void OnWriteDone(bool ok);
  void Detach();

 private:
  // What to do once the lock is given up.
  enum class Action { kNone, kWrite, kFinish, kCancel };
  Action NextLocked() SKV_REQUIRES(mutex_);
  void Do(Action action);

  Reactor* const reactor_;
  grpc::CallbackServerContext* const context_;
  const size_t max_buffer_bytes_;

  Mutex mutex_;
  std::deque<grpc::ByteBuffer> queue_ SKV_GUARDED_BY(mutex_);
  size_t queued_bytes_ SKV_GUARDED_BY(mutex_) = 0;
  // Owned by the write in flight while writing_.
  grpc::ByteBuffer current_;
  bool writing_ SKV_GUARDED_BY(mutex_) = false;
  bool overflowed_ SKV_GUARDED_BY(mutex_) = false;
  bool cancelling_ SKV_GUARDED_BY(mutex_) = false;  // TryCancel is running: the call must stay
  bool cancelled_ SKV_GUARDED_BY(mutex_) = false;
  bool finishing_ SKV_GUARDED_BY(mutex_) = false;  // Finish was asked for
  bool finished_ SKV_GUARDED_BY(mutex_) = false;   // the reactor was told, or is gone
  absl::Status status_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::router
