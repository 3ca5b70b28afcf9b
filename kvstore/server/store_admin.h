#pragma once
// What administration and Watch ask of the store. Each call takes less time than the largest
// request of a session: what may be longer is given in pieces. Knows no gRPC.
//
// Only for the thread that owns the store. After a call that changes the store, its news go to
// whoever waits (SessionHandler::TellNews).

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "kvstore/server/event_feed.h"
#include "kvstore/store/block_store.h"

namespace skv::kvstore {

struct TenantStats {
  std::string name;  // empty: all that have no quota
  int64_t bytes = 0;
  int64_t quota_bytes = 0;
};

struct StoreStats {
  BlockStoreGauges store;
  std::vector<TenantStats> tenants;
};

struct EntryPage {
  std::vector<EntryInfo> entries;
  std::optional<EntryIdx> next;  // where to go on; nullopt: the end
};

// A piece of what Watch readers are told first. It holds what all events before `sequence` have
// brought about, and nothing of those from there on.
struct SnapshotPage {
  std::vector<EntryEvent> entries;  // all of kind kSealed
  std::optional<EntryIdx> next;     // as above
  uint64_t sequence = 0;
};

class StoreAdmin {
 public:
  // What one call looks at or changes, at most.
  static constexpr uint32_t kMaxListed = 256;
  static constexpr uint32_t kMaxSnapshotEntries = 2048;
  static constexpr Duration kMaxPurgeTime = std::chrono::microseconds(500);

  // `events` holds what the store has said so far. Store, events and clock outlive this object;
  // `tenants` are those with a quota, by name.
  StoreAdmin(BlockStore* store, const EventFeed* events, std::map<std::string, TenantIdx> tenants,
             const Clock* clock);

  StoreStats GetStats() const;
  // The entries among up to `max_entries` places (at most kMaxListed) from `begin` on, 0 at first.
  EntryPage ListEntries(EntryIdx begin, uint32_t max_entries) const;
  SnapshotPage ReadSnapshot(EntryIdx begin) const;

  // As EntryTable's. `lifetime` counts from now.
  absl::Status Pin(const EntryKey& key, Duration lifetime);
  absl::Status Unpin(const EntryKey& key) { return store_->Unpin(key); }

  // The tenant with a quota of this name, or of the empty one those without. NotFound: none.
  absl::StatusOr<TenantIdx> FindTenant(const std::string& name) const;
  // Its name.
  std::string_view NameOf(TenantIdx tenant) const;
  // Evicts for a while what may go, of one tenant or of all (nullopt), at most `max_entries`.
  Purged Purge(std::optional<TenantIdx> tenant, uint32_t max_entries);

  TimePoint Now() const { return clock_->Now(); }

 private:
  BlockStore* const store_;
  const EventFeed* const events_;
  const std::map<std::string, TenantIdx> tenants_;
  const Clock* const clock_;
};

}  // namespace skv::kvstore
