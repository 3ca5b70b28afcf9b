#pragma once
// The store owner's side of the tiers: what is sought there for clients, what is to be written
// there, and all that those who move and check blocks do to the store. They do it under a session
// of their own: what they read or write is leased like that of any client.
//
// Only for the thread that owns the store; they come here through a StoreOwner. News of their
// changes are the caller's to tell (SessionHandler::TellNews).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "common/clock.h"
#include "kvstore/store/block_store.h"
#include "kvstore/tiering/seek.h"
#include "kvstore/tiering/sought_table.h"
#include "kvstore/tiering/tier_inbox.h"

namespace skv::kvstore {

struct TierDeskOptions {
  SoughtLimits limits;
  // A tier that has been waiting longer for an answer is not asked until it has one.
  Duration max_call = std::chrono::seconds(2);
  // Told how long each seek took. May be null.
  std::function<void(Duration)> on_seek_end;
  // Gets what clients say is damaged (Scrubber::Report). May be null.
  std::function<void(absl::Span<const EntryKey>)> on_report;
};

// A snapshot; totals are since the start.
struct TierDeskGauges {
  size_t num_sought_chains = 0, num_sought_keys = 0, num_absent_keys = 0;
  uint64_t num_seeks = 0;
  uint64_t num_refused_seeks = 0;  // a limit was reached, or no tier took it
  uint64_t num_expired_seeks = 0;  // ended by their time
  uint64_t num_found_entries = 0;  // made visible
  // Ended since the arena had no room for what was found, or not the parent of it.
  uint64_t num_unplaced_seeks = 0;
};

// A visible entry that is leased: the blocks of its ranks, in their order.
struct HeldEntry {
  EntryKey key;
  LeaseId lease;
  std::vector<std::span<const std::byte>> blocks;
};

// The longest visible prefix of a chain, under one lease: its blocks of one rank.
struct HeldChain {
  LeaseId lease;  // none (a default one) where there are no blocks
  std::vector<std::span<const std::byte>> blocks;
};

// An entry to be written to the arena: one block a rank, in their order.
struct NewEntry {
  std::vector<NewBlock> blocks;
};
struct PlacedEntry {
  std::vector<LeaseId> leases;               // none: the entry is there already
  std::vector<std::span<std::byte>> places;  // where to write
};

class TierDesk {
 public:
  // `store`, its `arena` and `inboxes`, of the tiers in the order in which they are asked, outlive
  // this; the store has room for a session more.
  TierDesk(const TierDeskOptions& options, BlockStore* store, std::span<std::byte> arena,
           std::vector<TierInbox*> inboxes);
  TierDesk(const TierDesk&) = delete;
  TierDesk& operator=(const TierDesk&) = delete;

  // --- For the handler of sessions.

  // Who asked for a chain.
  struct Asker {
    TenantIdx tenant = 0;
    uint32_t world_size = 1;
  };
  // Seeks `keys`, which the arena does not have and nobody writes, after `parent`; up to the first
  // that is sought already. Nothing where the first is, where it was not found a short while ago,
  // or where there is no tier to ask.
  void SeekChain(const Asker& asker, std::optional<PrefixKey> parent,
                 absl::Span<const EntryKey> keys, TimePoint now);
  // Nobody else may create it: whoever wants it waits until it is sealed, or is among TakeEnded.
  bool IsSought(const EntryKey& key) const { return sought_.IsSought(key); }
  // It may be waited for: IsSought, or what was found is being copied.
  bool IsComing(const EntryKey& key) const { return IsSought(key) || copied_.contains(key); }
  // A client found these damaged.
  void Report(absl::Span<const EntryKey> keys) const {
    if (options_.on_report) options_.on_report(keys);
  }
  // What the store's news say.
  void OnSealed(const EntryKey& key);
  void OnAbandoned(const EntryKey& key) { copied_.erase(key); }
  // Keys that are neither sought any more nor being copied, since the last call.
  std::vector<EntryKey> TakeEnded();
  // Ends what takes too long. To be called by NextDeadline.
  void Expire(TimePoint now);
  TimePoint NextDeadline() const { return sought_.NextDeadline(); }

  // --- For those who move and check blocks. None takes longer than a large request of a session.

  // What is visible of `keys`. Not a use of it. `num_refused`, unless it is null: how many of them
  // are not held though they may be visible, because no lease is left.
  std::vector<HeldEntry> Hold(absl::Span<const EntryKey> keys, size_t* num_refused = nullptr);
  // The same of the entries at `max_places` from `begin` on; returns where to go on, or nullopt.
  std::optional<EntryIdx> HoldNext(EntryIdx begin, uint32_t max_places,
                                   std::vector<HeldEntry>* held, size_t* num_refused = nullptr);
  // How many places HoldNext walks now.
  uint32_t num_places() const { return store_->num_places(); }
  // What is visible of a chain, its root first. A use of it. ResourceExhausted: no lease is left.
  absl::StatusOr<HeldChain> HoldChain(uint32_t rank, absl::Span<const EntryKey> keys);
  void Release(absl::Span<const LeaseId> leases);
  // Drops entries with a damaged block.
  void Invalidate(absl::Span<const EntryKey> keys);

  // Places for entries that were found, up to the first for which there is none, whose parent is
  // not there, or that someone writes; none once the seek has ended.
  std::vector<PlacedEntry> Place(SeekId id, absl::Span<const NewEntry> entries, TimePoint now);
  // They are written. The last one stays leased until the next Seal, or the seek's end, so that
  // what comes after it finds it. False: not all could be sealed.
  bool Seal(SeekId id, absl::Span<const PlacedEntry> entries);
  // All is found, or no more will be. `has_room`: all that was found has its place.
  void EndSeek(SeekId id, bool has_room, TimePoint now);

  TierDeskGauges gauges() const;

 private:
  std::optional<PlacedEntry> PlaceOne(const NewEntry& entry, TimePoint now);
  void Finish(SeekId id);
  std::span<std::byte> BytesOf(uint64_t offset, uint64_t num_bytes) const {
    return arena_.subspan(offset, num_bytes);
  }
  std::vector<std::span<const std::byte>> BytesOfBlocks() const;

  const TierDeskOptions options_;
  BlockStore* const store_;
  const std::span<std::byte> arena_;
  const std::vector<TierInbox*> inboxes_;
  const SessionId session_;
  SoughtTable sought_;
  absl::flat_hash_set<EntryKey, EntryKeyHash> copied_;  // placed, neither sealed nor abandoned
  std::map<SeekId, LeaseId> tips_;                      // of active seeks: what Seal keeps
  std::vector<EntryKey> ended_;
  TierDeskGauges totals_;           // the totals only
  std::vector<ShardBytes> blocks_;  // scratch
};

// Where TierDesk is called from other threads.
class StoreOwner {
 public:
  virtual ~StoreOwner() = default;

  // Calls `call` on the thread that owns the store, between requests of sessions, and returns after
  // that. False: the store is stopping; it was not called. Thread-safe.
  virtual bool Run(const std::function<void(TierDesk*)>& call) = 0;
};

}  // namespace skv::kvstore
