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

 private:
  Mutex mutex_;
  bool cancelled_ SKV_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Relay> relay_ SKV_GUARDED_BY(mutex_);
};

// Owns itself until OnDone.
class GenerateReactor : public grpc::ServerWriteReactor<grpc::ByteBuffer>, private ServerCall {
 public:
  using Base = grpc::ServerWriteReactor<grpc::ByteBuffer>;

  GenerateReactor(grpc::CallbackServerContext* context, size_t max_buffer_bytes)
      : context_(context),
        writer_(std::make_shared<StreamWriter>(static_cast<ServerCall*>(this), max_buffer_bytes)),
        call_(std::make_shared<CallState>()) {}

  const std::shared_ptr<StreamWriter>& writer() const { return writer_; }
  const std::shared_ptr<CallState>& call() const { return call_; }

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
};

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
  auto* reactor = new GenerateReactor(context, max_buffer_bytes_);
  absl::StatusOr<ConcurrencyLimiter::Ticket> ticket = router_->Enter();
  if (!ticket.ok()) {
    reactor->writer()->Finish(ticket.status());
    return reactor;
  }
  tasks_->Post([router = router_, writer = reactor->writer(), call = reactor->call(),
                bytes = *request, ticket = *std::move(ticket), arrival = clock_->Now(),
                deadline = context->deadline(), traceparent = FindTraceparent(*context)]() mutable {
    absl::StatusOr<skv::v1::GenerateRequest> message = ParseGenerateRequest(bytes);
    bytes.Clear();
    if (!message.ok()) return writer->Finish(message.status());
    Request parsed = FromProto(*std::move(message));
    parsed.traceparent = std::move(traceparent);
    absl::StatusOr<std::shared_ptr<Relay>> relay =
        router->Generate(std::move(parsed), deadline, arrival, std::move(ticket), writer);
    if (!relay.ok()) return writer->Finish(relay.status());
    call->SetRelay(*std::move(relay));
  });
  return reactor;
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
