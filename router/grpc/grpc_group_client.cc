#include "router/grpc/grpc_group_client.h"

#include <algorithm>
#include <utility>

#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "router/grpc/group_conversions.h"
#include "skv/worker/v1/worker.grpc.pb.h"

namespace skv::router {
namespace {

namespace health_pb = ::grpc::health::v1;

// A vocabulary of 256K entries with its merges is some 20 MiB.
constexpr int kMaxReceivedBytes = 64 << 20;

Deadline Within(Duration timeout) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout);
}

// What one unary call needs until its callback has run.
template <typename Request, typename Response>
struct UnaryCall {
  explicit UnaryCall(Deadline deadline) { context.set_deadline(deadline); }
  grpc::ClientContext context;
  Request request;
  Response response;
};

// gRPC 1.51 ends the queue that its callback threads read with the last channel. Where a callback
// is that channel's last owner, one of these threads ends the queue and reads on in freed memory.
// Keeps the queue, by a channel that leads nowhere and is never destroyed.
void KeepCallbackQueue() {
  [[maybe_unused]] static const auto* const kept = [] {
    auto* channel = new std::shared_ptr<grpc::Channel>(
        grpc::CreateCustomChannel("", /*creds=*/nullptr, grpc::ChannelArguments()));
    using Call = UnaryCall<health_pb::HealthCheckRequest, health_pb::HealthCheckResponse>;
    auto call = std::make_shared<Call>(Deadline::max());
    health_pb::Health::NewStub(*channel)->async()->Check(
        &call->context, &call->request, &call->response, [call](const grpc::Status&) {});
    return channel;
  }();
}

// Owns itself from Start to OnDone.
class GrpcGroupStream : public GroupStream,
                        public grpc::ClientReadReactor<worker_pb::GenerateEvent> {
 public:
  GrpcGroupStream(worker_pb::GenerateRequest request, Deadline deadline,
                  std::shared_ptr<GroupStreamHandler> handler)
      : request_(std::move(request)), handler_(std::move(handler)) {
    if (deadline != Deadline::max()) context_.set_deadline(deadline);
  }

  void Start(worker_pb::Worker::Stub* stub, std::shared_ptr<GrpcGroupStream> self) {
    self_ = std::move(self);
    stub->async()->Generate(&context_, &request_, this);
    StartRead(&event_);
    StartCall();
  }

  void Cancel() override { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;  // OnDone follows
    handler_->OnEvent(FromProto(std::move(event_)));
    event_.Clear();
    StartRead(&event_);
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<GrpcGroupStream> self = std::move(self_);
    const std::shared_ptr<GroupStreamHandler> handler = std::move(handler_);
    handler->OnDone(ToAbslStatus(status));
  }

 private:
  grpc::ClientContext context_;
  const worker_pb::GenerateRequest request_;
  worker_pb::GenerateEvent event_;
  std::shared_ptr<GroupStreamHandler> handler_;
  std::shared_ptr<GrpcGroupStream> self_;
};

class GrpcGroupClient : public GroupClient {
 public:
  explicit GrpcGroupClient(const std::shared_ptr<grpc::Channel>& channel)
      : worker_(worker_pb::Worker::NewStub(channel)),
        health_(health_pb::Health::NewStub(channel)) {}

  void Probe(Duration timeout, std::function<void(absl::StatusOr<ProbeResult>)> callback) override {
    using Call = UnaryCall<health_pb::HealthCheckRequest, health_pb::HealthCheckResponse>;
    const Deadline deadline = Within(timeout);
    auto call = std::make_shared<Call>(deadline);
    health_->async()->Check(&call->context, &call->request, &call->response,
                            [call, deadline, worker = worker_,
                             callback = std::move(callback)](const grpc::Status& status) {
                              if (!status.ok()) return callback(ToAbslStatus(status));
                              const bool serving = call->response.status() ==
                                                   health_pb::HealthCheckResponse::SERVING;
                              FetchLoad(worker, deadline, serving, callback);
                            });
  }

  void FetchModelInfo(Duration timeout,
                      std::function<void(absl::StatusOr<ModelInfo>)> callback) override {
    using Call = UnaryCall<worker_pb::GetModelInfoRequest, worker_pb::ModelInfo>;
    auto call = std::make_shared<Call>(Within(timeout));
    worker_->async()->GetModelInfo(
        &call->context, &call->request, &call->response,
        [call, callback = std::move(callback)](const grpc::Status& status) {
          if (!status.ok()) return callback(ToAbslStatus(status));
          callback(FromProto(std::move(call->response)));
        });
  }

  std::shared_ptr<GroupStream> Generate(const GroupRequest& request, Deadline deadline,
                                        std::shared_ptr<GroupStreamHandler> handler) override {
    auto stream = std::make_shared<GrpcGroupStream>(ToProto(request), deadline, std::move(handler));
    stream->Start(worker_.get(), stream);
    return stream;
  }

  void CancelSamples(std::string request_id, std::vector<int32_t> sample_idxs) override {
    using Call = UnaryCall<worker_pb::CancelSamplesRequest, worker_pb::CancelSamplesResponse>;
    auto call = std::make_shared<Call>(Within(std::chrono::seconds(1)));
    call->request.set_request_id(std::move(request_id));
    call->request.mutable_sample_indices()->Add(sample_idxs.begin(), sample_idxs.end());
    worker_->async()->CancelSamples(&call->context, &call->request, &call->response,
                                    [call](const grpc::Status&) {});
  }

 private:
  static void FetchLoad(const std::shared_ptr<worker_pb::Worker::Stub>& worker, Deadline deadline,
                        bool serving, std::function<void(absl::StatusOr<ProbeResult>)> callback) {
    using Call = UnaryCall<worker_pb::GetLoadRequest, worker_pb::LoadReport>;
    auto call = std::make_shared<Call>(deadline);
    worker->async()->GetLoad(
        &call->context, &call->request, &call->response,
        [call, serving, callback = std::move(callback)](const grpc::Status& status) {
          if (!status.ok()) return callback(ToAbslStatus(status));
          callback(ProbeResult{.serving = serving, .load = FromProto(call->response)});
        });
  }

  const std::shared_ptr<worker_pb::Worker::Stub> worker_;
  const std::shared_ptr<health_pb::Health::Stub> health_;
};

}  // namespace

std::shared_ptr<GroupClient> MakeGrpcGroupClient(const std::string& address) {
  KeepCallbackQueue();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxReceivedBytes);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A channel of its own: another client of the same address must not share its backoff.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Workers are reached directly, whatever proxy the environment names.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return std::make_shared<GrpcGroupClient>(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
}

}  // namespace skv::router
