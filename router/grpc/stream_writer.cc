#include "router/grpc/stream_writer.h"

#include <string>
#include <utility>

#include "grpcpp/support/slice.h"
#include "router/grpc/conversions.h"
#include "router/grpc/group_conversions.h"

namespace skv::router {
namespace {

grpc::ByteBuffer Serialize(Event event) {
  const grpc::Slice slice(ToProto(std::move(event)).SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace

bool StreamWriter::Write(Event event) {
  grpc::ByteBuffer bytes = Serialize(std::move(event));
  Action action = Action::kNone;
  {
    MutexLock lock(&mutex_);
    if (finishing_ || finished_) return true;
    if (queued_bytes_ + bytes.Length() > max_buffer_bytes_) {
      overflowed_ = true;
      return false;
    }
    queued_bytes_ += bytes.Length();
    queue_.push_back(std::move(bytes));
    action = NextLocked();
  }
  Do(action);
  return true;
}

void StreamWriter::Finish(absl::Status status) {
  Action action = Action::kNone;
  {
    MutexLock lock(&mutex_);
    if (finishing_ || finished_) return;
    finishing_ = true;
    status_ = std::move(status);
    // What is queued for a client that does not read would keep the call for ever.
    if (overflowed_) queue_.clear();
    action = NextLocked();
  }
  Do(action);
}

void StreamWriter::OnWriteDone(bool ok) {
  Action action = Action::kNone;
  {
    MutexLock lock(&mutex_);
    writing_ = false;
    current_.Clear();
    if (!ok) {
      queue_.clear();
      if (!finishing_) status_ = absl::CancelledError("the client went away");
      finishing_ = true;
    }
    action = NextLocked();
  }
  Do(action);
}

void StreamWriter::Detach() {
  MutexLock lock(&mutex_);
  finished_ = true;
  queue_.clear();
}

StreamWriter::Action StreamWriter::NextLocked() {
  if (finished_ || cancelling_) return Action::kNone;
  if (writing_) {
    if (!finishing_ || !overflowed_ || cancelled_) return Action::kNone;
    cancelling_ = cancelled_ = true;
    return Action::kCancel;
  }
  if (!queue_.empty()) {
    current_ = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= current_.Length();
    writing_ = true;
    return Action::kWrite;
  }
  if (!finishing_) return Action::kNone;
  finished_ = true;
  return Action::kFinish;
}

void StreamWriter::Do(Action action) {
  switch (action) {
    case Action::kNone:
      return;
    case Action::kWrite:
      return call_->StartWrite(&current_);
    case Action::kFinish: {
      absl::Status status;
      {
        MutexLock lock(&mutex_);
        status = status_;
      }
      return call_->Finish(ToGrpcStatus(status));
    }
    case Action::kCancel: {
      call_->TryCancel();
      Action next = Action::kNone;
      {
        MutexLock lock(&mutex_);
        cancelling_ = false;
        next = NextLocked();
      }
      return Do(next);
    }
  }
}

}  // namespace skv::router
