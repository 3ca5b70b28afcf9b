#include "router/router_process.h"

#include <sys/random.h>

#include <iostream>
#include <memory>
#include <utility>

#include "common/admin_server.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/signals.h"
#include "common/status.h"
#include "router/balancer/prefix_index.h"
#include "router/grpc/grpc_group_client.h"
#include "router/grpc/server.h"
#include "router/membership/membership.h"
#include "router/router.h"
#include "router/router_metrics.h"
#include "router/stores/store_follower.h"
#include "router/stores/store_metrics.h"

namespace skv::router {
namespace {

// From the loss of a worker group to the end of its streams; docs/bad-input.md promises it.
constexpr Duration kPromisedDetectionTime = std::chrono::seconds(5);

Duration Seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

// From the kernel: seeds and request ids of two routers must not collide.
uint64_t DrawFromKernel() {
  uint64_t bits = 0;
  SKV_CHECK(getrandom(&bits, sizeof(bits), 0) == sizeof(bits));
  return bits;
}

absl::StatusOr<std::unique_ptr<WorkerSource>> MakeSource(const RouterProcessOptions& options) {
  if (options.worker_urls.empty() == options.worker_file.empty()) {
    return absl::InvalidArgumentError("give either --worker-urls or --worker-file");
  }
  if (!options.worker_urls.empty()) return MakeStaticWorkerSource(options.worker_urls);
  std::unique_ptr<WorkerSource> source = MakeFileWorkerSource(options.worker_file);
  SKV_RETURN_IF_ERROR(source->List().status());
  return source;
}

absl::StatusOr<MembershipOptions> MakeMembershipOptions(const RouterProcessOptions& options) {
  const Duration interval = Seconds(options.health_check_interval_secs);
  const MembershipOptions result{
      .probe_interval = interval,
      .probe_timeout = interval,
      .stall_timeout = Seconds(options.stall_timeout_secs),
      .max_waiting_streams = static_cast<size_t>(options.max_waiting_streams)};
  SKV_RETURN_IF_ERROR(ValidateMembershipOptions(result));
  const Duration detection = LossDetectionTime(result);
  if (detection > kPromisedDetectionTime) {
    SKV_LOG(WARNING) << "a stalled worker group is noticed after up to " << ToSeconds(detection)
                     << " s, more than the usual " << ToSeconds(kPromisedDetectionTime)
                     << " s: --stall-timeout-secs " << options.stall_timeout_secs
                     << " and 1.25 times --health-check-interval-secs "
                     << options.health_check_interval_secs;
  }
  return result;
}

absl::StatusOr<std::unique_ptr<AdminServer>> StartAdmin(const RouterProcessOptions& options,
                                                        const Metrics& metrics,
                                                        const Membership* membership,
                                                        const std::atomic<bool>* draining) {
  AdminServerOptions admin;
  admin.address = options.host;
  admin.port = options.admin_port;
  admin.metrics = &metrics;
  admin.is_ready = [membership, draining] {
    if (draining->load()) return absl::UnavailableError("draining");
    const auto cluster = membership->snapshot();
    return cluster->num_healthy_groups() > 0 ? absl::OkStatus() : cluster->DownStatus();
  };
  return AdminServer::Start(admin);
}

}  // namespace

absl::Status RunRouter(const RouterProcessOptions& options) {
  SignalWaiter signals;
  SetLogName("router");
  SKV_ASSIGN_OR_RETURN(std::unique_ptr<WorkerSource> source, MakeSource(options));
  std::shared_ptr<PrefixIndex> prefixes;
  if (options.policy == "prefix_aware") {
    prefixes = std::make_shared<PrefixIndex>(options.prefix_index_max_keys);
  }
  SKV_ASSIGN_OR_RETURN(PickerFactory picker_factory, FindPolicy(options.policy, prefixes));
  SKV_ASSIGN_OR_RETURN(const MembershipOptions membership_options, MakeMembershipOptions(options));

  Metrics metrics(MetricLabels{{"role", "router"}});
  AddProcessMetrics(&metrics);
  RouterMetrics router_metrics(&metrics);
  Membership membership(membership_options, std::move(source), MakeGrpcGroupClient,
                        std::move(picker_factory), &RealClock(), std::move(prefixes));
  Router router({.max_concurrent_requests = options.max_concurrent_requests,
                 .max_retries = options.max_retries,
                 .max_migrations = options.max_migrations,
                 .migration_wait = std::chrono::milliseconds(options.migration_wait_ms)},
                &membership, &RealClock(), DrawFromKernel,
                [&router_metrics](const RelayStats& stats) { router_metrics.OnEnd(stats); });
  router_metrics.Watch(&router, &membership);
  membership.Start();
  std::unique_ptr<StoreFollower> stores;
  if (membership.prefixes() != nullptr) {
    stores = std::make_unique<StoreFollower>(StoreFollowerOptions(), membership.prefixes());
    stores->Start(&membership);
  }
  AddStoreMetrics(StoreFollowerOptions(), stores.get(), &metrics);

  std::atomic<bool> draining{false};
  SKV_ASSIGN_OR_RETURN(const std::unique_ptr<AdminServer> admin,
                       StartAdmin(options, metrics, &membership, &draining));
  SKV_ASSIGN_OR_RETURN(const std::unique_ptr<GrpcServer> server,
                       GrpcServer::Start({.host = options.host,
                                          .port = options.port,
                                          .max_client_buffer_bytes =
                                              static_cast<size_t>(options.max_client_buffer_bytes),
                                          .max_receive_bytes = options.max_receive_bytes},
                                         &router, &RealClock()));
  std::cout << "skv-router: gRPC on " << options.host << ":" << server->port() << "\n"
            << "skv-router: metrics on http://" << options.host << ":" << admin->port()
            << "/metrics" << std::endl;
  signals.Wait();
  SKV_LOG(INFO) << "draining " << router.num_in_flight() << " requests";
  draining = true;
  if (!server->Drain(Seconds(options.drain_timeout_secs))) {
    SKV_LOG(WARNING) << "requests that did not end in " << options.drain_timeout_secs
                     << " s were cancelled";
  }
  return absl::OkStatus();
}

}  // namespace skv::router
