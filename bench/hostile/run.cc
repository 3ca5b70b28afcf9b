#include "bench/hostile/run.h"

#include <sys/resource.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "bench/hostile/attack.h"
#include "bench/hostile/healthy_client.h"
#include "bench/hostile/store_process.h"
#include "common/status.h"

namespace skv::hostile {
namespace {

// Far from what attacks, and fills, use.
constexpr int kHealthyNumbers = 1 << 30;

// Thousands of sockets.
void RaiseDescriptorLimit() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::vector<Attack> AllAttacks() {
  std::vector<Attack> all;
  for (const auto& attacks :
       {ProcessAttacks(), RequestAttacks(), FrameAttacks(), FloodAttacks(), MemoryAttacks()}) {
    all.insert(all.end(), attacks.begin(), attacks.end());
  }
  return all;
}

// The attack, and what the healthy client finds afterwards.
nlohmann::json RunAttack(const Attack& attack, Target* target, int* num_failed) {
  std::cerr << "skv-hostile: " << attack.name << std::endl;
  const TimePoint begin = RealClock().Now();
  absl::Status status = Annotate(attack.run(*target), "attack");
  status.Update(Annotate(target->healthy->CheckAll(), "healthy client"));
  const std::chrono::duration<double> seconds = RealClock().Now() - begin;
  if (!status.ok()) {
    ++*num_failed;
    std::cerr << "skv-hostile: " << attack.name << ": " << status << std::endl;
  }
  return {{"name", attack.name},
          {"ok", status.ok()},
          {"problem", std::string(StdSv(status.message()))},
          {"seconds", seconds.count()},
          {"worst_latency_ms", target->healthy->TakeWorstMs()}};
}

absl::StatusOr<std::vector<nlohmann::json>> RunAttacks(const RunOptions& options, int* num_failed) {
  SKV_ASSIGN_OR_RETURN(
      const auto store,
      StoreProcess::Start(options.store, {"--arena-bytes", absl::StrCat(Target::kArenaBytes),
                                          "--max-sessions", absl::StrCat(Target::kMaxSessions)}));
  std::vector<nlohmann::json> results;
  {
    HealthyClient healthy(store.get(), kHealthyNumbers, options.max_latency_ms);
    SKV_RETURN_IF_ERROR(healthy.TakeBaseline());
    const std::string socket = store->socket();
    Target target{.socket = socket, .healthy = &healthy};
    for (const Attack& attack : AllAttacks()) {
      if (!absl::StrContains(attack.name, options.only)) continue;
      results.push_back(RunAttack(attack, &target, num_failed));
    }
  }
  SKV_RETURN_IF_ERROR(store->Stop());
  return results;
}

absl::StatusOr<nlohmann::json> RunDyingClients(const RunOptions& options) {
  std::cerr << "skv-hostile: clients that die among " << options.dying.num_keys << " keys"
            << std::endl;
  SKV_ASSIGN_OR_RETURN(
      const auto store,
      StoreProcess::Start(options.store, {"--max-entries", absl::StrCat(1 << 24), "--arena-bytes",
                                          absl::StrCat(ArenaBytesFor(options.dying.num_keys))}));
  DyingClientResult result;
  {
    HealthyClient healthy(store.get(), kHealthyNumbers, options.max_latency_ms);
    SKV_RETURN_IF_ERROR(healthy.TakeBaseline());
    SKV_ASSIGN_OR_RETURN(result, MeasureDyingClients(store.get(), &healthy, options.dying));
  }
  SKV_RETURN_IF_ERROR(store->Stop());
  return nlohmann::json{{"keys", result.num_sealed},
                        {"leases", result.num_leases},
                        {"requests", result.num_requests},
                        {"worst_alive_ms", result.worst_alive_ms},
                        {"worst_dying_ms", result.worst_dying_ms},
                        {"resident_bytes", result.resident_bytes}};
}

}  // namespace

absl::Status RunHostile(const RunOptions& options) {
  RaiseDescriptorLimit();
  int num_failed = 0;
  SKV_ASSIGN_OR_RETURN(const std::vector<nlohmann::json> attacks, RunAttacks(options, &num_failed));
  nlohmann::json dying_clients;
  if (options.dying.num_keys > 0) {
    SKV_ASSIGN_OR_RETURN(dying_clients, RunDyingClients(options));
  }
  std::cout << nlohmann::json{{"attacks", attacks}, {"dying_clients", dying_clients}} << std::endl;
  return Expect(num_failed == 0, absl::StrCat(num_failed, " attacks did harm"));
}

}  // namespace skv::hostile
