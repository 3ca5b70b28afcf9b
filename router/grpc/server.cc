#include "router/grpc/server.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "grpcpp/ext/health_check_service_server_builder_option.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "router/grpc/conversions.h"
#include "router/grpc/generation_service.h"
#include "router/task_queue.h"

namespace skv::router {
namespace {

// Room above the documented limit, so that a request just over it is answered by us, with a reason.
constexpr int kMaxTransportBytes = static_cast<int>(kMaxRequestBytes) + (4 << 20);
constexpr int kKeepaliveMs = 30'000;
// After the last answer has left: for clients to hang up by themselves. A client that has no call
// does not look at its connection.
constexpr auto kGoodbyeTime = std::chrono::milliseconds(500);

class CallbackGrpcServer : public GrpcServer {
 public:
  CallbackGrpcServer(const GrpcServerOptions& options, Router* router, const Clock* clock)
      : router_(router),
        tasks_(options.num_tokenizer_threads),
        generation_(router, &tasks_, clock,
                    {.writer = {.max_buffer_bytes = options.max_client_buffer_bytes,
                                .delivery_timeout = options.delivery_timeout},
                     .max_waiting_bytes = options.max_waiting_bytes}),
        models_(router) {}

  ~CallbackGrpcServer() override {
    if (watches_health_) router_->WatchHealth(nullptr);
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  absl::Status Listen(const GrpcServerOptions& options) {
    const std::string address = absl::StrCat(options.host, ":", options.port);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    // With the default a second router would silently share the port.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // A client that vanished without a word is noticed.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    builder.SetMaxReceiveMessageSize(kMaxTransportBytes);
    // That limit is looked at when a message is complete: what is under way needs one of its own.
    grpc::ResourceQuota quota("router");
    quota.Resize(static_cast<size_t>(options.max_receive_bytes));
    builder.SetResourceQuota(quota);
    builder.RegisterService(&generation_);
    builder.RegisterService(&models_);
    server_ = builder.BuildAndStart();
    if (server_ != nullptr && port_ != 0) {
      watches_health_ = true;
      router_->WatchHealth([this](bool any_healthy) { SetServing(any_healthy); });
      return absl::OkStatus();
    }
    return absl::UnavailableError(absl::StrCat(
        address, ": cannot be listened on; is the port in use? Choose another with --port"));
  }

  int port() const override { return port_; }

  bool Drain(Duration timeout) override {
    {
      MutexLock lock(&mutex_);
      draining_ = true;
    }
    SetServing(false);
    router_->StartDrain();
    const bool idle = router_->WaitUntilIdle(timeout);
    const auto now = std::chrono::system_clock::now();
    server_->Shutdown(idle ? now + kGoodbyeTime : now);
    return idle;
  }

 private:
  void SetServing(bool any_healthy) {
    MutexLock lock(&mutex_);
    server_->GetHealthCheckService()->SetServingStatus(any_healthy && !draining_);
  }

  Router* const router_;
  int port_ = 0;
  TaskQueue tasks_;
  GenerationService generation_;
  ModelsService models_;
  std::unique_ptr<grpc::Server> server_;
  bool watches_health_ = false;
  Mutex mutex_;
  bool draining_ SKV_GUARDED_BY(mutex_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options,
                                                              Router* router, const Clock* clock) {
  auto server = std::make_unique<CallbackGrpcServer>(options, router, clock);
  if (absl::Status status = server->Listen(options); !status.ok()) return status;
  return std::unique_ptr<GrpcServer>(std::move(server));
}

}  // namespace skv::router
