#include "worker/server/generate_stream.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/server/conversions.h"

namespace skv::server {

using worker::v1::GenerateEvent;

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()),
                      std::string(status.message()));
}

GenerateStream::GenerateStream(engine::Engine* engine, int num_samples,
                               std::function<void(const engine::FinishEvent&)> on_finish,
                               std::function<void()> on_done)
    : engine_(engine),
      on_finish_(std::move(on_finish)),
      on_done_(std::move(on_done)),
      samples_left_(num_samples) {}

void GenerateStream::Start(engine::GenerationRequest request) {
  self_ = shared_from_this();
  const absl::StatusOr<engine::RequestId> id = engine_->Submit(std::move(request), self_);
  if (!id.ok()) return Refuse(id.status());
  MutexLock lock(&mutex_);
  request_ = *id;
  if (broken_) engine_->Cancel(request_);  // the client left before the request had its id
}

void GenerateStream::Refuse(const absl::Status& status) {
  if (self_ == nullptr) self_ = shared_from_this();
  MutexLock lock(&mutex_);
  samples_left_ = 0;
  status_ = status;
  MaybeFinish();
}

void GenerateStream::CancelSample(int sample_idx) {
  MutexLock lock(&mutex_);
  if (request_ != 0) engine_->CancelSample(request_, sample_idx);
}

bool GenerateStream::OnToken(const engine::TokenEvent& event) {
  MutexLock lock(&mutex_);
  if (broken_) return false;
  if (events_.size() >= kMaxBufferedEvents) {
    status_ = absl::ResourceExhaustedError(
        absl::StrCat("the client left ", kMaxBufferedEvents, " events unread"));
    return false;
  }
  Enqueue(ToProto(event));
  return true;
}

void GenerateStream::OnFinish(const engine::FinishEvent& event) {
  if (on_finish_) on_finish_(event);
  MutexLock lock(&mutex_);
  --samples_left_;
  const bool ends_call = event.reason == engine::FinishReason::kError ||
                         event.reason == engine::FinishReason::kDeadline;
  if (event.reason == engine::FinishReason::kDeadline) {
    status_ = absl::DeadlineExceededError("the request's deadline has passed");
  } else if (event.reason == engine::FinishReason::kError && !absl::IsInternal(event.status)) {
    status_ = event.status;
  }
  if (!ends_call || status_.ok()) Enqueue(ToProto(event));
  MaybeFinish();
}

void GenerateStream::Enqueue(GenerateEvent event) {
  if (broken_) return;
  if (!sent_first_) event.set_cached_tokens(0);
  sent_first_ = true;
  events_.push_back(std::move(event));
  if (!writing_) WriteNext();
}

void GenerateStream::WriteNext() {
  writing_ = true;
  StartWrite(&events_.front());
}

void GenerateStream::MaybeFinish() {
  if (finished_ || writing_ || samples_left_ > 0) return;
  if (!events_.empty() && !broken_) return;
  finished_ = true;
  if (broken_ && status_.ok()) status_ = absl::CancelledError("the client left");
  Finish(ToGrpc(status_));
}

void GenerateStream::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  writing_ = false;
  events_.pop_front();
  if (!ok) broken_ = true;
  if (broken_) {
    events_.clear();
    if (request_ != 0) engine_->Cancel(request_);
  } else if (!events_.empty()) {
    WriteNext();
  }
  MaybeFinish();
}

void GenerateStream::OnCancel() {
  MutexLock lock(&mutex_);
  broken_ = true;
  if (request_ != 0) engine_->Cancel(request_);
}

void GenerateStream::OnDone() {
  on_done_();
  self_.reset();
}

}  // namespace skv::server
