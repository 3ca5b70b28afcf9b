#pragma once
// Random operations on an entry table against a plain model. Which entry goes is the order's
// affair; that it may go, that all else stays, and that nothing could have gone when room was
// refused, the model says.

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kvstore/index/entry_table.h"
#include "kvstore/index/testing/numbered_keys.h"

namespace skv::kvstore {

constexpr int kNumKeys = 60;
constexpr int kNone = -1;

struct ModelShard {
  int64_t bytes = 0;
  int64_t offset = kNone;
  bool sealed = false;
};

struct ModelEntry {
  uint32_t key = 0;
  int parent = kNone;  // model id
  Entry::State state = Entry::State::kCreated;
  EntryIdx handle = 0;                    // of the table
  std::map<uint32_t, ModelShard> shards;  // by rank
  bool pinned = false;
  TimePoint pinned_until;
};

struct ModelLease {
  SessionId session;
  LeaseId handle;
  int entry = kNone;
  int rank = kNone;  // of the shard that is being written
};

class Simulation {
 public:
  Simulation(std::unique_ptr<EvictionOrder> order, int seed) : table_(Options(), std::move(order)) {
    random_.seed(seed);
    // Chains branch: the parent is one of the 8 keys before, of the same tenant.
    for (int key = 0; key < kNumKeys; ++key) {
      parent_of_[key] = key < 12 || Chance(20) ? kNone : key - 4 * Uniform(1, std::min(2, key / 4));
    }
    for (uint32_t tenant = 1; tenant < 3; ++tenant) {
      EXPECT_EQ(*table_.tenants().Add(tenant == 1 ? kQuota : 0), tenant);
    }
  }

  static EntryTableOptions Options() {
    EntryTableOptions options;
    options.capacity_bytes = 700;
    options.max_entries = 24;
    options.max_shards = 36;
    options.max_pins = 4;
    options.max_tenants = 3;
    options.leases = {.max_sessions = 5, .max_leases = 50, .max_leases_per_session = 16};
    options.watch_stride = 1;
    return options;
  }

  void Run(int num_steps) {
    for (int i = 0; i < num_steps && !testing::Test::HasFailure(); ++i) {
      SCOPED_TRACE(testing::Message() << "step " << i);
      changes_.Clear();
      model_freed_.clear();
      model_abandoned_ = 0;
      now_ += std::chrono::seconds(1);
      Step();
      Check();
    }
  }

  int64_t num_evicted() const { return num_evicted_; }
  int64_t num_refused() const { return num_refused_; }
  int64_t num_dropped() const { return num_dropped_; }
  int64_t num_hits() const { return num_hits_; }
  int64_t num_evicted_by_name() const { return num_evicted_by_name_; }

 private:
  static constexpr int64_t kQuota = 200;

  int Uniform(int min, int max) { return std::uniform_int_distribution(min, max)(random_); }
  bool Chance(int percent) { return Uniform(1, 100) <= percent; }

  // Of tenant 0 and 1 as of one rank, of tenant 2 as of two.
  static uint32_t TenantOf(uint32_t key) { return key % 4 == 3 ? 2 : key % 4 % 2; }
  static uint32_t WorldSizeOf(uint32_t key) { return TenantOf(key) == 2 ? 2 : 1; }

  void Step();
  void OpenOrClose();
  void Create();
  void CheckRefusedForRoom(const ModelEntry* entry, int parent, uint32_t key, SessionId session);
  void SealOrRelease();
  void Lookup();
  void Forge();
  void PinOrInvalidate();
  void Withdraw(int id, uint32_t rank);
  void EvictNamed();

  int Find(uint32_t key) const {
    const auto it = by_key_.find(key);
    return it == by_key_.end() ? kNone : it->second;
  }
  bool IsLeased(int id) const {
    return std::any_of(leases_.begin(), leases_.end(),
                       [id](const ModelLease& lease) { return lease.entry == id; });
  }
  bool HasChildren(int id) const {
    return std::any_of(entries_.begin(), entries_.end(),
                       [id](const auto& item) { return item.second.parent == id; });
  }
  int64_t NumLeasesOf(SessionId session) const {
    return std::count_if(leases_.begin(), leases_.end(),
                         [&](const ModelLease& lease) { return lease.session == session; });
  }
  void Drop(int id);
  void EndLease(size_t i);
  void RemoveEntry(int id);
  void RemoveEvicted();
  void RemoveUnheld();
  void Check();
  void CheckGauges() const;
  void CheckBytes() const;
  void CheckWatch();

  std::mt19937 random_;
  EntryTable table_;
  std::map<int, int> parent_of_;  // key -> key
  std::map<int, ModelEntry> entries_;
  std::map<uint32_t, int> by_key_;
  std::vector<SessionId> sessions_;
  std::vector<ModelLease> leases_;
  std::vector<LeaseId> ended_;
  std::set<int64_t> model_freed_;
  int model_abandoned_ = 0;
  std::set<std::pair<PrefixKey, uint32_t>> watched_;  // what a Watch reader believes
  TimePoint now_;
  Changes changes_;
  int next_id_ = 0;
  int64_t next_offset_ = 0;
  int64_t num_evicted_ = 0, num_refused_ = 0, num_dropped_ = 0, num_hits_ = 0;
  int64_t num_evicted_by_name_ = 0;
};

}  // namespace skv::kvstore
