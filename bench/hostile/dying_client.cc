#include "bench/hostile/dying_client.h"

#include <algorithm>
#include <csignal>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/hostile/client_process.h"
#include "common/status.h"
#include "kvstore/server/testing/test_client.h"

namespace skv::hostile {
namespace {

using kvstore::CreateOutcome;
using kvstore::CreateReply;
using kvstore::LeaseHandle;
using kvstore::SealReply;
using kvstore::Sentence;
using kvstore::TestClient;

constexpr uint64_t kBlockBytes = 192;
constexpr int kChainLength = 20;
constexpr int kBatch = kvstore::kMaxCreateItems / kChainLength * kChainLength;
constexpr int kUnsealed = 32 * kBatch;
constexpr std::chrono::seconds kWatched{1};

// Chains of sentences from `first_number` on.
std::vector<Sentence> MakeBatch(int first_number) {
  std::vector<Sentence> batch;
  for (int i = 0; i < kBatch; ++i) {
    const Sentence sentence =
        kvstore::MakeSentence(first_number + i, i % kChainLength == 0 ? nullptr : &batch.back());
    batch.push_back(sentence);
  }
  return batch;
}

// The leases of the writer; as many as there are sentences unless there was no room.
std::vector<LeaseHandle> Create(TestClient& client, const std::vector<Sentence>& batch,
                                bool writes) {
  kvstore::Create create;
  for (const Sentence& sentence : batch) create.items.push_back(sentence.item);
  const auto created = client.Ask<CreateReply>(create).items;
  std::vector<LeaseHandle> leases;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (created[i].outcome != CreateOutcome::kCreated) break;
    if (writes) client.Write(batch[i], created[i].range);
    leases.push_back(created[i].lease);
  }
  return leases;
}

absl::Status Fill(const std::string& socket, int64_t num_keys) {
  TestClient client(socket);
  for (int64_t number = 0; number < num_keys; number += kBatch) {
    const std::vector<LeaseHandle> leases =
        Create(client, MakeBatch(static_cast<int>(number)), /*writes=*/true);
    SKV_RETURN_IF_ERROR(Expect(leases.size() == kBatch,
                               absl::StrCat("the store takes no more than ", number, " keys")));
    kvstore::Seal seal;
    for (const LeaseHandle lease : leases) seal.items.push_back({.lease = lease});
    for (const auto& item : client.Ask<SealReply>(seal).items) {
      SKV_RETURN_IF_ERROR(Expect(item.is_visible, "a block cannot be sealed"));
    }
    client.Ask<kvstore::ReleaseReply>(kvstore::Release{leases});
  }
  return absl::OkStatus();
}

// Blocks that it writes, and then leases on the chains of others up to its limit.
bool TakeAll(TestClient& client, int first_number, int64_t num_keys) {
  for (int i = 0; i < kUnsealed; i += kBatch) {
    if (Create(client, MakeBatch(first_number + i), /*writes=*/false).size() != kBatch)
      return false;
  }
  const auto max_leases = static_cast<int64_t>(client.welcome().max_leases);
  for (int64_t i = 0; i < max_leases - kUnsealed; ++i) {
    const int64_t root = i * 7919 * kChainLength % num_keys;
    const auto got = client.Get({kvstore::MakeSentence(static_cast<int>(root)).item.key});
    // Some were evicted for the sake of the unsealed blocks.
    if (got.code != absl::StatusCode::kOk) return false;
  }
  return true;
}

absl::Status ServeFor(HealthyClient* healthy, std::chrono::seconds time, int64_t* num_requests) {
  constexpr int kRequests = 5;  // of CheckServed
  const TimePoint end = RealClock().Now() + time;
  while (RealClock().Now() < end) {
    SKV_RETURN_IF_ERROR(healthy->CheckServed());
    *num_requests += kRequests;
  }
  return absl::OkStatus();
}

absl::StatusOr<double> Gauge(const StoreProcess& store, const std::string& name) {
  SKV_ASSIGN_OR_RETURN(const auto metrics, store.Metrics());
  const auto found = metrics.find(name);
  if (found == metrics.end()) return absl::InternalError(absl::StrCat("no series ", name));
  return found->second;
}

absl::Status LetOneDie(StoreProcess* store, HealthyClient* healthy, int first_number,
                       int64_t num_keys, DyingClientResult* result) {
  ClientProcess client([&](const auto& yield) {
    TestClient test_client(store->socket());
    if (!TakeAll(test_client, first_number, num_keys)) return false;
    while (true) yield();
  });
  SKV_RETURN_IF_ERROR(Expect(client.WaitForYield(), "the client that is to die got no leases"));
  healthy->TakeWorstMs();
  SKV_RETURN_IF_ERROR(ServeFor(healthy, 2 * kWatched, &result->num_requests));
  result->worst_alive_ms = std::max(result->worst_alive_ms, healthy->TakeWorstMs());
  SKV_ASSIGN_OR_RETURN(const double leases, Gauge(*store, "leases"));
  result->num_leases = std::max(result->num_leases, static_cast<int64_t>(leases));
  client.Signal(SIGKILL);
  do {
    SKV_RETURN_IF_ERROR(ServeFor(healthy, kWatched, &result->num_requests));
    SKV_ASSIGN_OR_RETURN(const double sessions, Gauge(*store, "sessions"));
    if (sessions == 1) break;
  } while (true);
  SKV_RETURN_IF_ERROR(ServeFor(healthy, kWatched, &result->num_requests));
  result->worst_dying_ms = std::max(result->worst_dying_ms, healthy->TakeWorstMs());
  client.Join();
  return absl::OkStatus();
}

}  // namespace

uint64_t ArenaBytesFor(int64_t num_keys) {
  constexpr int64_t kOthers = int64_t{4} * kUnsealed;
  return kBlockBytes * static_cast<uint64_t>(num_keys + kOthers) + (uint64_t{64} << 20);
}

absl::StatusOr<DyingClientResult> MeasureDyingClients(StoreProcess* store, HealthyClient* healthy,
                                                      const DyingClientOptions& options) {
  DyingClientResult result;
  SKV_RETURN_IF_ERROR(Fill(store->socket(), options.num_keys));
  for (int round = 0; round < options.rounds; ++round) {
    const auto first_number = static_cast<int>(options.num_keys) + (round + 1) * kUnsealed;
    SKV_RETURN_IF_ERROR(LetOneDie(store, healthy, first_number, options.num_keys, &result));
  }
  SKV_RETURN_IF_ERROR(healthy->CheckAll());
  SKV_ASSIGN_OR_RETURN(const double sealed, Gauge(*store, "entries{state=\"sealed\"}"));
  result.num_sealed = static_cast<int64_t>(sealed);
  SKV_ASSIGN_OR_RETURN(const auto metrics, store->Metrics());
  for (const auto& [name, value] : metrics) {
    if (name.starts_with("skv_process_resident_bytes")) result.resident_bytes += value;
  }
  return result;
}

}  // namespace skv::hostile
