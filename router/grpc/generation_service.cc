#include "router/grpc/generation_service.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "router/grpc/conversions.h"
#include "router/grpc/stream_writer.h"

namespace skv::router {
namespace {

// Joins a call's cancellation, which may come at any time, with its relay, which comes later.
class CallState {
 public:
  void Cancel() {
    std::shared_ptr<Relay> relay;
    {
      MutexLock lock(&mutex_);
      cancelled_ = true;
      relay = std::move(relay_);
    }
    if (relay != nullptr) relay->Cancel(absl::CancelledError("the client went away"));
  }

  void SetRelay(std::shared_ptr<Relay> relay) {
    {
      MutexLock lock(&mutex_);
      if (!cancelled_) {
        relay_ = std::move(relay);
        return;
      }
    }
    relay->Cancel(absl::CancelledError("the client went away"));
  }

  bool cancelled() {
    MutexLock lock(&mutex_);
    return cancelled_;
  }

 private:
  Mutex mutex_;
  bool cancelled_ SKV_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Relay> relay_ SKV_GUARDED_BY(mutex_);
};

// Owns itself until OnDone.
class GenerateReactor : public grpc::ServerWriteReactor<grpc::ByteBuffer>, private ServerCall {
 public:
  using Base = grpc::ServerWriteReactor<grpc::ByteBuffer>;

  GenerateReactor(grpc::CallbackServerContext* context, StreamWriterOptions options)
      : context_(context),
        writer_(std::make_shared<StreamWriter>(static_cast<ServerCall*>(this), options)),
        call_(std::make_shared<CallState>()) {}

  const std::shared_ptr<StreamWriter>& writer() const { return writer_; }
  const std::shared_ptr<CallState>& call() const { return call_; }
  // Keeps the request's place until the client has everything.
  void Hold(ConcurrencyLimiter::Ticket ticket) { ticket_ = std::move(ticket); }

  void OnWriteDone(bool ok) override {
    const std::shared_ptr<StreamWriter> writer = writer_;  // this may be gone before it returns
    writer->OnWriteDone(ok);
  }
  void OnCancel() override { call_->Cancel(); }
  void OnDone() override {
    writer_->Detach();
    call_->Cancel();  // a relay that is still there has nobody to serve
    delete this;
  }

 private:
  void StartWrite(const grpc::ByteBuffer* bytes) override { Base::StartWrite(bytes); }
  void Finish(grpc::Status status) override { Base::Finish(std::move(status)); }
  void TryCancel() override { context_->TryCancel(); }

  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<StreamWriter> writer_;
  const std::shared_ptr<CallState> call_;
  ConcurrencyLimiter::Ticket ticket_;
};

// A call that waits for a tokenizer thread.
struct WaitingCall {
  std::shared_ptr<StreamWriter> writer;
  std::shared_ptr<CallState> state;
  grpc::ByteBuffer bytes;
  std::shared_ptr<void> room;  // for `bytes`
  ConcurrencyLimiter::Ticket ticket;
  TimePoint arrival;
  Deadline deadline;
  std::string traceparent;
};

void Refuse(Router* router, const WaitingCall& call, const absl::Status& status) {
  router->CountRefused(status, call.arrival);
  call.writer->Finish(status);
}

void Start(Router* router, WaitingCall call) {
  // Tokenising for clients that are gone would keep the others waiting.
  if (call.state->cancelled()) {
    return Refuse(router, call, absl::CancelledError("the client went away"));
  }
  if (std::chrono::system_clock::now() >= call.deadline) {
    return Refuse(router, call,
                  absl::DeadlineExceededError("the deadline passed before the request was read"));
  }
  absl::StatusOr<skv::v1::GenerateRequest> message = ParseGenerateRequest(call.bytes);
  call.bytes.Clear();
  call.room.reset();
  if (!message.ok()) return Refuse(router, call, message.status());
  Request request = FromProto(*std::move(message));
  request.traceparent = std::move(call.traceparent);
  absl::StatusOr<std::shared_ptr<Relay>> relay = router->Generate(
      std::move(request), call.deadline, call.arrival, std::move(call.ticket), call.writer);
  if (!relay.ok()) return call.writer->Finish(relay.status());
  call.state->SetRelay(*std::move(relay));
}

std::string FindTraceparent(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto it = metadata.find("traceparent");
  return it == metadata.end() ? "" : std::string(it->second.data(), it->second.size());
}

void SetModel(const ModelSummary& summary, skv::v1::Model* model) {
  model->set_name(summary.name);
  model->set_fingerprint(summary.fingerprint);
  model->set_context_length(summary.context_length);
  model->set_vocab_size(summary.vocab_size);
  model->set_num_healthy_groups(summary.num_healthy_groups);
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerationService::Generate(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  auto* reactor = new GenerateReactor(context, options_.writer);
  const TimePoint arrival = clock_->Now();
  absl::StatusOr<ConcurrencyLimiter::Ticket> ticket = router_->Enter();
  if (!ticket.ok()) {
    reactor->writer()->Finish(ticket.status());
    return reactor;
  }
  reactor->Hold(*ticket);
  absl::StatusOr<std::shared_ptr<void>> room = TakeRoom(static_cast<int64_t>(request->Length()));
  if (!room.ok()) {
    router_->CountRefused(room.status(), arrival);
    reactor->writer()->Finish(room.status());
    return reactor;
  }
  WaitingCall call{.writer = reactor->writer(),
                   .state = reactor->call(),
                   .bytes = *request,
                   .room = *std::move(room),
                   .ticket = *std::move(ticket),
                   .arrival = arrival,
                   .deadline = context->deadline(),
                   .traceparent = FindTraceparent(*context)};
  tasks_->Post(
      [router = router_, call = std::move(call)]() mutable { Start(router, std::move(call)); });
  return reactor;
}

absl::StatusOr<std::shared_ptr<void>> GenerationService::TakeRoom(int64_t num_bytes) {
  const int64_t before = waiting_bytes_->fetch_add(num_bytes);
  std::shared_ptr<void> room(
      nullptr, [waiting = waiting_bytes_, num_bytes](void*) { waiting->fetch_sub(num_bytes); });
  if (before == 0 || before + num_bytes <= options_.max_waiting_bytes) return room;
  return absl::ResourceExhaustedError(
      absl::StrCat("request of ", num_bytes, " bytes: ", before,
                   " bytes of other requests wait to be read, at most ", options_.max_waiting_bytes,
                   " may wait: retry later"));
}

grpc::ServerUnaryReactor* ModelsService::ListModels(grpc::CallbackServerContext* context,
                                                    const skv::v1::ListModelsRequest*,
                                                    skv::v1::ListModelsResponse* response) {
  for (const ModelSummary& summary : router_->ListModels()) {
    SetModel(summary, response->add_models());
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* ModelsService::GetModel(grpc::CallbackServerContext* context,
                                                  const skv::v1::GetModelRequest* request,
                                                  skv::v1::Model* response) {
  grpc::Status status(
      grpc::StatusCode::NOT_FOUND,
      absl::StrCat("model: no worker group serves \"", request->model().substr(0, 128), "\""));
  for (const ModelSummary& summary : router_->ListModels()) {
    if (summary.name != request->model()) continue;
    SetModel(summary, response);
    status = grpc::Status::OK;
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

}  // namespace skv::router
