#include "kvstore/grpc/kvstore_server.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "grpc/grpc.h"
#include "grpcpp/health_check_service_interface.h"

namespace skv::kvstore {
namespace {

// The largest request, the keys of a Read, is 11 KiB.
constexpr int kMaxRequestBytes = 64 << 10;
// A caller that vanished, or stands still, without closing its connection is noticed after both.
constexpr int kKeepaliveMs = 10'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
// Callers of Watch look after the store in the same way, also while nothing happens.
constexpr int kMinPingIntervalMs = 10'000;
constexpr auto kStopTime = std::chrono::milliseconds(500);

}  // namespace

absl::StatusOr<std::unique_ptr<KvStoreServer>> KvStoreServer::Start(
    const KvStoreServerOptions& options, EventFeed* feed, CommandQueue* commands,
    CommandStoreOwner* owner) {
  std::unique_ptr<KvStoreServer> server(new KvStoreServer(options, feed, commands, owner));
  SKV_RETURN_IF_ERROR(server->Listen(options));
  return server;
}

absl::Status KvStoreServer::Listen(const KvStoreServerOptions& options) {
  // gRPC's own end, with the last server or channel, may wait 10 s for a poller that a large write
  // has left behind: this keeps it from coming before the process' end.
  grpc_init();
  const std::string address = absl::StrCat(options.host, ":", options.port);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
  // With the default a second store would silently share the port.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinPingIntervalMs);
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port_ == 0) {
    return absl::UnavailableError(absl::StrCat("--port: cannot listen on ", address,
                                               "; is it in use? choose another, or 0 for any"));
  }
  SetServing(false);
  return absl::OkStatus();
}

KvStoreServer::~KvStoreServer() { Stop(); }

void KvStoreServer::SetServing(bool is_serving) {
  server_->GetHealthCheckService()->SetServingStatus(is_serving);
}

void KvStoreServer::Stop() {
  service_.StopWatches();
  if (server_ == nullptr) return;
  SetServing(false);
  server_->Shutdown(std::chrono::system_clock::now() + kStopTime);
  server_->Wait();
  server_.reset();
}

}  // namespace skv::kvstore
