#include "worker/server/worker_process.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <optional>
#include <random>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/admin_server.h"
#include "common/log.h"
#include "common/signals.h"
#include "common/status.h"
#include "worker/comm/self_communicator.h"
#include "worker/comm/shm_communicator.h"
#include "worker/engine/engine.h"
#include "worker/server/model_info.h"
#include "worker/server/vllm_metrics.h"
#include "worker/server/worker_metrics.h"
#include "worker/server/worker_service.h"

namespace skv::server {
namespace {

constexpr int kMaxMessageBytes = 16 << 20;
constexpr size_t kMaxAddressBytes = 256;  // routers take no more
// A router that has vanished without closing its connection is noticed after this and 20 s more.
constexpr int kKeepaliveMs = 30'000;
constexpr auto kHealthPeriod = std::chrono::milliseconds(200);
constexpr auto kPoll = std::chrono::milliseconds(20);
// Longest wait for a peer inside a step, or for its load to end.
constexpr auto kCallTimeout = std::chrono::seconds(30);

absl::StatusOr<std::unique_ptr<comm::Communicator>> JoinGroup(
    const WorkerOptions& options, const engine::ModelDescription& description) {
  if (options.tensor_parallel_size == 1) return comm::CreateSelfCommunicator();
  if (options.group_path.empty()) {
    return absl::InvalidArgumentError(
        "--group-path: empty; ranks of one group meet at a file such as /dev/shm/skv-group-0");
  }
  comm::ShmOptions shm;
  shm.path = options.group_path;
  shm.rank = options.rank_idx;
  shm.world_size = options.tensor_parallel_size;
  shm.join_timeout = std::chrono::seconds(options.join_timeout_secs);
  shm.call_timeout = kCallTimeout;
  shm.fingerprint = absl::StrCat(
      "model ", description.fingerprint, ", backend ", options.rank.backend, ", max-model-len ",
      options.rank.max_model_len, ", max-num-batched-tokens ", options.rank.max_num_batched_tokens,
      ", kv-cache-memory-bytes ", options.rank.kv_cache_memory_bytes, ", kv-placement ",
      options.rank.kv_placement, ", working-set-factor ", options.rank.working_set_factor,
      ", working-set-memory-bytes ", options.rank.working_set_memory_bytes,
      ", enable-prefix-caching ", options.rank.enable_prefix_caching,
      ", prefix-cache-memory-bytes ", options.rank.prefix_cache_memory_bytes,
      ", prefix-cache-verify-every ", options.rank.prefix_cache_verify_every, ", kvstore-socket \"",
      options.rank.kvstore_socket, "\"");
  return comm::JoinShmGroup(shm);
}

absl::Status CheckWatchAddress(const WorkerOptions& options) {
  const std::string& address = options.kvstore_watch_address;
  if (address.empty()) return absl::OkStatus();
  if (options.rank.kvstore_socket.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--kvstore-watch-address ", address,
                     ": there is no store that it could be of; give its --kvstore-socket, too"));
  }
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon != std::string::npos && colon > 0 && address.size() <= kMaxAddressBytes &&
      absl::SimpleAtoi(address.substr(colon + 1), &port) && port >= 1 && port <= 65535) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--kvstore-watch-address: got \"", address, "\", expected host:port of at most ",
      kMaxAddressBytes, " characters, as routers reach the gRPC of the host's skv-kvstore"));
}

// OK while this rank's heartbeat is young.
absl::Status CheckHeartbeat(const engine::RankExecutor& executor, int max_step_age_secs) {
  const double age = executor.step_age_seconds();
  if (age < max_step_age_secs) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("no step for ", age, " s (--max-step-age-secs)"));
}

absl::StatusOr<std::unique_ptr<AdminServer>> StartAdmin(const WorkerOptions& options,
                                                        const WorkerMetrics& metrics,
                                                        const engine::RankExecutor* executor,
                                                        const std::atomic<bool>* draining) {
  AdminServerOptions admin;
  admin.address = options.host;
  admin.port = options.admin_port;
  admin.metrics = &metrics.metrics();
  admin.is_live = [executor, limit = options.max_step_age_secs] {
    return CheckHeartbeat(*executor, limit);
  };
  admin.is_ready = [draining] {
    return draining->load() ? absl::UnavailableError("draining") : absl::OkStatus();
  };
  return AdminServer::Start(admin);
}

absl::StatusOr<std::unique_ptr<grpc::Server>> StartGrpc(const WorkerOptions& options,
                                                        WorkerService* service) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  int bound_port = 0;
  const std::string address = absl::StrCat(options.host, ":", options.port);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &bound_port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || bound_port == 0) {
    return absl::UnavailableError(absl::StrCat("--port: cannot listen on ", address,
                                               "; is it in use? choose another, or 0 for any"));
  }
  SKV_LOG(INFO) << "serving gRPC on " << options.host << ":" << bound_port;
  return server;
}

// Until a signal comes, grpc.health.v1 says of the group what its heartbeat says: a follower that
// hangs holds up the leader's steps too.
void ServeUntilSignal(SignalWaiter* signals, const engine::RankExecutor& executor,
                      int max_step_age_secs, grpc::HealthCheckServiceInterface* health) {
  do {
    health->SetServingStatus(CheckHeartbeat(executor, max_step_age_secs).ok());
  } while (!signals->WaitFor(kHealthPeriod));
}

// Returns when every stream has ended or the time is over.
void WaitForStreams(const WorkerService& service, int timeout_secs) {
  const TimePoint end = RealClock().Now() + std::chrono::seconds(timeout_secs);
  while (service.num_open_streams() > 0 && RealClock().Now() < end)
    std::this_thread::sleep_for(kPoll);
  if (service.num_open_streams() > 0) {
    SKV_LOG(WARNING) << service.num_open_streams() << " streams did not end in " << timeout_secs
                     << " s (--drain-timeout-secs); cancelling them";
  }
}

absl::Status RunLeader(const WorkerOptions& options, const engine::ModelDescription& description,
                       engine::Rank* rank, comm::Communicator* communicator,
                       WorkerMetrics* metrics) {
  const engine::EngineOptions engine_options = rank->MakeEngineOptions(
      description, options.max_num_seqs, options.rank.max_num_batched_tokens, options.max_queue);
  SKV_RETURN_IF_ERROR(engine_options.scheduler.Validate());
  engine::Engine engine(engine_options, rank->executor(), communicator, RealClock());
  std::optional<VllmMetrics> vllm_metrics;
  if (options.metrics_compat == "vllm") {
    vllm_metrics.emplace(ServedModelName(options, description), rank->max_model_len(), rank,
                         &engine, &metrics->metrics());
  }
  SignalWaiter signals;
  WorkerService service({.model_info = MakeModelInfo(options, description, *rank, engine_options),
                         .epoch = std::random_device{}(),
                         .store_watch_address = options.kvstore_watch_address,
                         .kv_heads = rank->kv_heads(),
                         .on_drain = [&signals] { signals.Raise(); },
                         .on_request = [&](const auto& request) { metrics->Observe(request); },
                         .on_finish =
                             [&](const auto& event) {
                               metrics->Observe(event);
                               if (vllm_metrics) vllm_metrics->Observe(event);
                             }},
                        &engine, rank->executor());
  metrics->AddLeader(&engine, [&service] { return service.num_open_streams(); });
  SKV_ASSIGN_OR_RETURN(const auto admin,
                       StartAdmin(options, *metrics, rank->executor(), &service.draining()));
  SKV_LOG(INFO) << "metrics on http://" << options.host << ":" << admin->port() << "/metrics";
  SKV_ASSIGN_OR_RETURN(const auto server, StartGrpc(options, &service));

  std::atomic<bool> engine_ended{false};
  absl::Status engine_status;
  std::thread engine_thread([&] {
    engine_status = engine.Run();
    engine_ended = true;
    signals.Raise();
  });
  ServeUntilSignal(&signals, *rank->executor(), options.max_step_age_secs,
                   server->GetHealthCheckService());
  service.StartDrain();
  server->GetHealthCheckService()->SetServingStatus(false);
  if (!engine_ended) {
    SKV_LOG(INFO) << "draining " << service.num_open_streams() << " streams";
    WaitForStreams(service, options.drain_timeout_secs);
  }
  engine.Shutdown();
  engine_thread.join();
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  return engine_status;
}

absl::Status RunFollowerRank(const WorkerOptions& options, engine::Rank* rank,
                             comm::Communicator* communicator, const WorkerMetrics& metrics) {
  // The leader drains for the group: SIGTERM to a follower changes nothing.
  SignalWaiter signals;
  static const std::atomic<bool> never_draining{false};
  SKV_ASSIGN_OR_RETURN(const auto admin,
                       StartAdmin(options, metrics, rank->executor(), &never_draining));
  SKV_LOG(INFO) << "metrics on http://" << options.host << ":" << admin->port() << "/metrics";
  return engine::RunFollower(rank->executor(), communicator);
}

}  // namespace

absl::Status RunWorker(const WorkerOptions& options) {
  if (options.rank_idx < 0 || options.rank_idx >= options.tensor_parallel_size) {
    return absl::InvalidArgumentError(absl::StrCat("--rank: ", options.rank_idx, ", expected 0 to ",
                                                   options.tensor_parallel_size - 1,
                                                   " (--tensor-parallel-size)"));
  }
  SKV_RETURN_IF_ERROR(CheckWatchAddress(options));
  SKV_RETURN_IF_ERROR(Validate(options.kv_policies));
  SetLogName(absl::StrCat("worker[", options.rank_idx, "]"));
  SKV_ASSIGN_OR_RETURN(const auto description, engine::DescribeModel(options.rank.model_path));
  SKV_ASSIGN_OR_RETURN(const auto communicator, JoinGroup(options, description));
  SKV_ASSIGN_OR_RETURN(const auto rank, engine::Rank::Open(options.rank, description,
                                                           communicator.get(), RealClock()));
  // Nobody steps before all ranks have loaded.
  float loaded = 1;
  SKV_RETURN_IF_ERROR(communicator->AllReduceSum(&loaded, 1));
  WorkerMetrics metrics(rank.get(), options.rank_idx);
  rank->executor()->StartAudit(
      options.kv_policies.audit_fraction,
      [&metrics](const auto& policy, auto samples) { metrics.ObserveAudit(policy, samples); });
  const absl::Status status =
      options.rank_idx == 0
          ? RunLeader(options, description, rank.get(), communicator.get(), &metrics)
          : RunFollowerRank(options, rank.get(), communicator.get(), metrics);
  if (!status.ok()) communicator->Abort(status);
  return status;
}

}  // namespace skv::server
