#include "kvstore/server/kvstore_process.h"

#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/admin_server.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/signals.h"
#include "common/status.h"
#include "kvstore/arena/arena.h"
#include "kvstore/grpc/kvstore_server.h"
#include "kvstore/grpc/read_metrics.h"
#include "kvstore/grpc/watch_metrics.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/peer/peer_tier.h"
#include "kvstore/server/command_queue.h"
#include "kvstore/server/command_store_owner.h"
#include "kvstore/server/event_feed.h"
#include "kvstore/server/kvstore_metrics.h"
#include "kvstore/server/session_server.h"
#include "kvstore/server/tier_metrics.h"
#include "kvstore/tiering/tiering.h"

namespace skv::kvstore {
namespace {

// The handler's, and that of those who move and check blocks.
constexpr uint32_t kOwnSessions = 2;
// Connections that have not said Hello yet, beside all sessions.
constexpr uint32_t kMaxGreeting = 64;
// Of the admin and gRPC servers, standard streams, the arena and so on.
constexpr uint64_t kOtherDescriptors = 256;
// Turns end every second, and take milliseconds.
constexpr auto kMaxTurnAge = std::chrono::seconds(10);
constexpr auto kHealthPeriod = std::chrono::milliseconds(200);
constexpr int kProgressSeconds = 2;
// 3 MB: some seconds of a store that is written to as fast as it can be.
constexpr uint32_t kMaxWatchEvents = 1 << 16;
// Each call has one at most.
constexpr size_t kMaxCommands = 1024;
constexpr size_t kMaxPeers = 16;

using TenantQuotas = std::map<std::string, int64_t>;

absl::StatusOr<TenantQuotas> ParseTenantQuotas(const std::vector<std::string>& flags) {
  TenantQuotas quotas;
  for (const std::string& flag : flags) {
    const size_t equals = flag.rfind('=');
    int64_t num_bytes = 0;
    if (equals == std::string::npos || equals == 0 || equals > kMaxNameBytes ||
        !absl::SimpleAtoi(flag.substr(equals + 1), &num_bytes) || num_bytes < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("--tenant-quota: '", flag, "', expected NAME=BYTES with a name of at most ",
                       kMaxNameBytes, " bytes and at least 1 byte"));
    }
    const std::string name = flag.substr(0, equals);
    if (!quotas.emplace(name, num_bytes).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("--tenant-quota: '", name, "' has two quotas, expected one"));
    }
  }
  return quotas;
}

uint64_t ArenaBytes(int64_t flag) {
  if (flag > 0) return static_cast<uint64_t>(flag);
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / 4;
}

EntryTableOptions IndexOptions(const KvStoreOptions& options) {
  EntryTableOptions index;
  index.max_entries = static_cast<uint32_t>(options.max_entries);
  index.max_shards = 2 * index.max_entries;
  index.leases.max_sessions = static_cast<uint32_t>(options.max_sessions) + kOwnSessions;
  return index;
}

SessionHandlerOptions HandlerOptions(const EntryTableOptions& index) {
  SessionHandlerOptions handler;
  SKV_CHECK(getrandom(handler.epoch.data(), handler.epoch.size(), 0) ==
            static_cast<ssize_t>(handler.epoch.size()));
  handler.max_clients = index.leases.max_sessions + kMaxGreeting;
  handler.max_leases_per_session = index.leases.max_leases_per_session;
  return handler;
}

// A session takes a descriptor, and the usual limit of 1024 is for programs that use select.
void RaiseDescriptorLimit(uint64_t needed) {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= needed) return;
  limit.rlim_cur = std::min<rlim_t>(needed, limit.rlim_max);
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < needed) {
    SKV_LOG(WARNING) << "this process may have " << limit.rlim_cur
                     << " descriptors, --max-sessions needs " << needed
                     << ": clients beyond will wait (raise ulimit -n)";
  }
}

absl::StatusOr<std::unique_ptr<AdminServer>> StartAdmin(const KvStoreOptions& options,
                                                        const Metrics& metrics,
                                                        const ServerStatus* status) {
  AdminServerOptions admin;
  admin.address = options.host;
  admin.port = options.admin_port;
  admin.metrics = &metrics;
  admin.is_live = [status] { return status->CheckLive(kMaxTurnAge); };
  admin.is_ready = [status] { return status->CheckReady(); };
  return AdminServer::Start(admin);
}

absl::StatusOr<std::unique_ptr<Arena>> TakeArena(uint64_t num_bytes, SignalWaiter* signals) {
  ArenaOptions options;
  options.num_bytes = num_bytes;
  options.on_progress = [num_bytes, signals](uint64_t num_taken) {
    SKV_LOG_EVERY_SECONDS(INFO, kProgressSeconds)
        << "arena: took " << (num_taken >> 20) << " of " << (num_bytes >> 20) << " MiB";
    return !signals->WaitFor(std::chrono::milliseconds(0));
  };
  absl::StatusOr<std::unique_ptr<Arena>> arena = Arena::Create(options, RealClock());
  if (absl::IsResourceExhausted(arena.status())) return Annotate(arena.status(), "--arena-bytes");
  return arena;
}

std::unique_ptr<EvictionOrder> CreateOrder(const std::string& name, const OrderOptions& options) {
  return name == "lru" ? CreateLruOrder(options) : CreateS3FifoOrder(options);
}

absl::Status AddTenants(const TenantQuotas& quotas, TenantTable* tenants,
                        std::map<std::string, TenantIdx>* by_name) {
  for (const auto& [name, num_bytes] : quotas) {
    const absl::StatusOr<TenantIdx> tenant = tenants->Add(num_bytes);
    SKV_RETURN_IF_ERROR(Annotate(tenant.status(), absl::StrCat("--tenant-quota: ", name)));
    by_name->emplace(name, *tenant);
  }
  return absl::OkStatus();
}

// Until a signal comes, or the server fails. grpc.health.v1 says of the store what its thread's
// heartbeat says.
absl::Status Serve(SessionServer* server, const ServerStatus& status, KvStoreServer* grpc_server,
                   Tiering* tiering, SignalWaiter* signals) {
  absl::Status served;
  std::thread thread([&] {
    served = server->Run();
    signals->Raise();
  });
  tiering->Start();
  do {
    grpc_server->SetServing(status.CheckReady().ok() && status.CheckLive(kMaxTurnAge).ok());
  } while (!signals->WaitFor(kHealthPeriod));
  // Calls that wait for the store are answered while it still runs.
  grpc_server->Stop();
  tiering->Stop();
  server->Stop();
  thread.join();
  return served;
}

// Behind all other tiers: what is found there is written to those.
absl::StatusOr<std::vector<TierSetup>> OpenAllTiers(const KvStoreOptions& options) {
  SKV_ASSIGN_OR_RETURN(std::vector<TierSetup> tiers,
                       OpenTiers(options.tiers, ArenaBytes(options.arena_bytes)));
  if (options.peers.size() > kMaxPeers) {
    return absl::InvalidArgumentError(
        absl::StrCat("--peers: ", options.peers.size(), " addresses, at most ", kMaxPeers));
  }
  const std::set<std::string> addresses(options.peers.begin(), options.peers.end());
  if (addresses.size() < options.peers.size()) {
    return absl::InvalidArgumentError("--peers: an address is named twice");
  }
  for (const std::string& address : options.peers) {
    absl::StatusOr<std::unique_ptr<Tier>> peer = OpenPeerTier(address);
    SKV_RETURN_IF_ERROR(Annotate(peer.status(), "--peers"));
    TierSetup setup =
        Guarded(*std::move(peer), std::chrono::milliseconds(options.tiers.timeout_ms));
    setup.limits.max_writes = 0;
    tiers.push_back(std::move(setup));
  }
  return tiers;
}

ScrubberOptions ScrubberOptionsOf(const TierFlags& flags) {
  return {.bytes_per_second = static_cast<uint64_t>(flags.scrub_bytes_per_second)};
}

TierDeskOptions DeskOptions(const TierFlags& flags, Tiering* tiering, Metrics* metrics) {
  prometheus::Histogram& seconds = metrics->AddHistogram(
      "skv_kvstore_seek_seconds", "From a Get to the end of its seek.", LatencyBuckets());
  return {.max_call = 2 * std::chrono::milliseconds(flags.timeout_ms),
          .on_seek_end = [&seconds](Duration time) { seconds.Observe(ToSeconds(time)); },
          .on_report = [tiering](absl::Span<const EntryKey> keys) { tiering->Report(keys); }};
}

KvStoreServerOptions GrpcOptions(const KvStoreOptions& options, const EntryTableOptions& index,
                                 const StoreEpoch& epoch, Tiering* tiering) {
  return {.host = options.host,
          .port = options.port,
          .service = {.epoch = epoch,
                      .index = index,
                      .max_watch_streams = static_cast<uint32_t>(options.max_watch_streams),
                      .max_read_streams = static_cast<uint32_t>(options.max_read_streams),
                      .tiering = tiering}};
}

}  // namespace

std::string DefaultSocketPath() {
  const char* const folder = std::getenv("XDG_RUNTIME_DIR");
  if (folder != nullptr && folder[0] != '\0') return absl::StrCat(folder, "/skv-kvstore.sock");
  return absl::StrCat("/tmp/skv-kvstore-", getuid(), ".sock");
}

absl::Status RunKvStore(const KvStoreOptions& options) {
  SignalWaiter signals;
  SetLogName("kvstore");
  SKV_ASSIGN_OR_RETURN(const TenantQuotas quotas, ParseTenantQuotas(options.tenant_quotas));
  BlockStoreOptions store_options{.index = IndexOptions(options)};
  SessionServerOptions server_options{.handler = HandlerOptions(store_options.index)};
  EventFeed events(kMaxWatchEvents);
  CommandQueue commands(kMaxCommands);
  CommandStoreOwner owner(&commands);
  server_options.handler.events = &events;
  server_options.commands = &commands;
  RaiseDescriptorLimit(server_options.handler.max_clients + kOtherDescriptors);

  ServerStatus status(&RealClock());
  Metrics metrics(MetricLabels{{"role", "kvstore"}});
  AddProcessMetrics(&metrics);
  AddKvStoreMetrics(store_options.index, server_options.handler, &status, &metrics);
  SKV_ASSIGN_OR_RETURN(std::vector<TierSetup> tiers, OpenAllTiers(options));
  Tiering tiering(std::move(tiers), ScrubberOptionsOf(options.tiers), &owner, &RealClock());
  const TierDeskOptions desk_options = DeskOptions(options.tiers, &tiering, &metrics);
  AddTierMetrics(&tiering, desk_options.limits, &status, &metrics);
  const KvStoreServerOptions grpc_options =
      GrpcOptions(options, store_options.index, server_options.handler.epoch, &tiering);
  SKV_ASSIGN_OR_RETURN(const auto grpc_server,
                       KvStoreServer::Start(grpc_options, &events, &commands, &owner));
  AddWatchMetrics(grpc_options.service, &grpc_server->service(), &events, &commands, &metrics);
  AddReadMetrics(grpc_options.service, &grpc_server->service(), &metrics);
  SKV_ASSIGN_OR_RETURN(const auto admin, StartAdmin(options, metrics, &status));
  // Before the arena: of two stores that want one path, the second takes no memory.
  const std::string path = options.socket.empty() ? DefaultSocketPath() : options.socket;
  const auto mode = static_cast<mode_t>(std::strtoul(options.socket_mode.c_str(), nullptr, 8));
  SKV_ASSIGN_OR_RETURN(SessionListener listener, SessionListener::Listen(path, mode));

  const auto arena = TakeArena(ArenaBytes(options.arena_bytes), &signals);
  if (absl::IsCancelled(arena.status())) return absl::OkStatus();
  SKV_RETURN_IF_ERROR(arena.status());
  server_options.arena_fd = (*arena)->fd();
  server_options.handler.arena_bytes = (*arena)->num_bytes();
  store_options.index.capacity_bytes = static_cast<int64_t>((*arena)->num_bytes());
  BlockStore store(store_options, CreateOrder(options.eviction, store_options.index.order()),
                   (*arena)->Bytes(0, (*arena)->num_bytes()));
  TierDesk desk(desk_options, &store, (*arena)->Bytes(0, (*arena)->num_bytes()), tiering.inboxes());
  owner.SetDesk(&desk);
  server_options.handler.tiers = &desk;
  SKV_RETURN_IF_ERROR(AddTenants(quotas, &store.tenants(), &server_options.handler.tenants));
  SKV_ASSIGN_OR_RETURN(const auto server,
                       SessionServer::Create(server_options, std::move(listener), &store, &status));
  std::cout << "skv-kvstore: sessions at " << path << "\n"
            << "skv-kvstore: gRPC on " << options.host << ":" << grpc_server->port() << "\n"
            << "skv-kvstore: metrics on http://" << options.host << ":" << admin->port()
            << "/metrics" << std::endl;
  absl::Status served = Serve(server.get(), status, grpc_server.get(), &tiering, &signals);
  SKV_LOG(INFO) << "closing " << status.gauges().sessions.num_sessions << " sessions";
  return served;
}

}  // namespace skv::kvstore
