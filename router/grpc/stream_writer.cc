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
    if (queued_bytes_ > 0 && queued_bytes_ + bytes.Length() > options_.max_buffer_bytes) {
      too_slow_ = true;
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
    if (too_slow_) queue_.clear();
    action = NextLocked();
  }
  Do(action);
  WatchDelivery();
}

// An alarm cannot be set again from its own callback, so each wait has one of its own.
void StreamWriter::WatchDelivery() {
  if (options_.delivery_timeout == Duration::max()) return;
  auto alarm = std::make_unique<grpc::Alarm>();
  MutexLock lock(&mutex_);
  if (finished_) return;
  const auto end =
      std::chrono::system_clock::now() +
      std::chrono::duration_cast<std::chrono::system_clock::duration>(options_.delivery_timeout);
  alarm->Set(end, [weak = weak_from_this(), then = num_delivered_](bool is_due) {
    const std::shared_ptr<StreamWriter> writer = weak.lock();
    if (is_due && writer != nullptr) writer->OnDeliveryTimeout(then);
  });
  alarm_.swap(alarm);
}

void StreamWriter::OnDeliveryTimeout(uint64_t num_delivered_then) {
  Action action = Action::kNone;
  bool is_stuck = false;
  {
    MutexLock lock(&mutex_);
    is_stuck = num_delivered_ == num_delivered_then;
    if (is_stuck) {
      too_slow_ = true;
      queue_.clear();
      action = NextLocked();
    }
  }
  if (!is_stuck) return WatchDelivery();
  Do(action);
}

void StreamWriter::OnWriteDone(bool ok) {
  Action action = Action::kNone;
  {
    MutexLock lock(&mutex_);
    writing_ = false;
    ++num_delivered_;
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
  std::unique_ptr<grpc::Alarm> alarm;
  MutexLock lock(&mutex_);
  finished_ = true;
  queue_.clear();
  alarm = std::move(alarm_);
}

StreamWriter::Action StreamWriter::NextLocked() {
  if (finished_ || cancelling_) return Action::kNone;
  if (writing_) {
    if (!finishing_ || !too_slow_ || cancelled_) return Action::kNone;
    cancelling_ = cancelled_ = true;
    return Action::kCancel;
  }
  if (!queue_.empty()) {
    current_.Swap(&queue_.front());
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
