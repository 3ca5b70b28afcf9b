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
                               const policy::KvHeads& kv_heads, Callbacks callbacks)
    : engine_(engine),
      callbacks_(std::move(callbacks)),
      kv_heads_(kv_heads),
      samples_left_(num_samples),
      cancelled_(num_samples) {}

void GenerateStream::Start(engine::GenerationRequest request) {
  self_ = shared_from_this();
  policy_ = request.policy;
  const absl::StatusOr<engine::RequestId> id = engine_->Submit(std::move(request), self_);
  if (!id.ok()) return Refuse(id.status());
  MutexLock lock(&mutex_);
  request_ = *id;
  // What came before the request had its id.
  if (broken_) engine_->Cancel(request_);
  for (size_t i = 0; i < cancelled_.size(); ++i) {
    if (cancelled_[i]) engine_->CancelSample(request_, static_cast<int>(i));
  }
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
  // Each sample once: however many a caller names, the engine's queue stays short.
  const bool known = sample_idx >= 0 && sample_idx < static_cast<int>(cancelled_.size());
  if (!known || cancelled_[sample_idx]) return;
  cancelled_[sample_idx] = true;
  if (request_ != 0) engine_->CancelSample(request_, sample_idx);
}

bool GenerateStream::OnToken(const engine::TokenEvent& event) {
  {
    MutexLock lock(&mutex_);
    if (broken_) return false;
    if (events_.size() < kMaxBufferedEvents) {
      Enqueue(ToProto(event));
      return true;
    }
    broken_ = true;
    status_ = absl::ResourceExhaustedError(
        absl::StrCat("the client left ", kMaxBufferedEvents, " events unread"));
  }
  // A write is in flight and would wait for the client for ever. The call lives: this sample has
  // not finished. Without the lock, since gRPC may call OnCancel from here.
  callbacks_.cancel_call();
  return false;
}

void GenerateStream::OnFinish(const engine::FinishEvent& event) {
  if (callbacks_.on_finish) callbacks_.on_finish(event);
  MutexLock lock(&mutex_);
  --samples_left_;
  const bool ends_call = event.reason == engine::FinishReason::kError ||
                         event.reason == engine::FinishReason::kDeadline;
  if (event.reason == engine::FinishReason::kDeadline) {
    status_ = absl::DeadlineExceededError("the request's deadline has passed");
  } else if (event.reason == engine::FinishReason::kError && !absl::IsInternal(event.status)) {
    status_ = event.status;
  }
  if (!ends_call || status_.ok()) Enqueue(ToProto(event, policy_, kv_heads_));
  MaybeFinish();
}

void GenerateStream::Enqueue(GenerateEvent event) {
  if (broken_) return;
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
  callbacks_.on_done();
  self_.reset();
}

}  // namespace skv::server
