#pragma once
// The client's end of one Generate call: one write in flight, a bounded queue behind it.

#include <deque>
#include <memory>

#include "common/mutex.h"
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

// Thread-safe. Operations on the call are started outside of the lock, since gRPC may run their
// callbacks on the same thread.
class StreamWriter : public ClientStream {
 public:
  // `call` lives until Detach. At most `max_buffer_bytes` wait for the client.
  StreamWriter(ServerCall* call, size_t max_buffer_bytes)
      : call_(call), max_buffer_bytes_(max_buffer_bytes) {}

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

  ServerCall* const call_;
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
  bool finished_ SKV_GUARDED_BY(mutex_) = false;   // the call was told, or is gone
  absl::Status status_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::router
