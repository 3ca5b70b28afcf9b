#pragma once
// The bookkeeping of skv-kvstore: which sentence entries there are, who holds them, what goes when
// room is needed. Pure: no memory of blocks, no sockets, no clock; time is passed in, and equal
// calls give equal answers. Not thread-safe: one owner.
//
// An entry has one shard a rank. It is created with its first shard and seen by Lookup when all
// are sealed, then it stays until it is evicted. An entry that will never be sealed (a writer gave
// up or died), or that hangs below such a one, is dropped: no key leads to it, the key may be
// created anew, and its memory is freed when nobody holds it any more.
//
// A lease holds its entry and the chain above it: an entry with live children is not evicted. So
// one lease on the last sentence of a hit is enough for the whole hit, and a writer that has
// sealed a sentence may release the sentence before it.
//
// Cost: Create, Seal, Release and Pin are amortised O(1) (eviction_order.h), CloseSession is
// linear in the session's own leases, Lookup in the keys; nothing walks all entries. All tables
// are bounded by EntryTableOptions and none is ever rebuilt.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/clock.h"
#include "kvstore/index/entry_key.h"
#include "kvstore/index/entry_store.h"
#include "kvstore/index/entry_table_types.h"
#include "kvstore/index/eviction_order.h"
#include "kvstore/index/lease_table.h"
#include "kvstore/index/pin_table.h"
#include "kvstore/index/tenant_table.h"

namespace skv::kvstore {

class EntryTable {
 public:
  // REQUIRES: options.Validate().ok(); `order` was created for options.order().
  EntryTable(const EntryTableOptions& options, std::unique_ptr<EvictionOrder> order);
  EntryTable(const EntryTable&) = delete;
  EntryTable& operator=(const EntryTable&) = delete;

  // ResourceExhausted: as many are open as may be.
  absl::StatusOr<SessionId> OpenSession() { return leases_.OpenSession(); }
  // Ends the session's leases; what it was writing is dropped. InvalidArgument: no such session.
  absl::Status CloseSession(SessionId session, Changes* changes);

  // Tenants and their quotas (tenant_table.h).
  TenantTable& tenants() { return tenants_; }

  // Begins to write a shard, and evicts what must make room: the tenant's own while it would
  // exceed its quota, then of whichever partition takes the largest part of its quota. What was
  // evicted before an error stays so.
  //   InvalidArgument    no such session or tenant, a rank not below world_size, bytes that never
  //                      fit, or an entry that has another parent, tenant or world size
  //   NotFound           the parent is not there
  //   ResourceExhausted  all that could go is leased, pinned or above such, or so much of it in a
  //                      row that the order took max_steps (the next call gets further); or a
  //                      table is full
  absl::StatusOr<Created> Create(SessionId session, const NewShard& shard, TimePoint now,
                                 Changes* changes);

  // The shard being written lies at `offset` (>= 0) of the arena.
  // InvalidArgument: not such a lease, or placed before.
  absl::Status Place(SessionId session, LeaseId lease, int64_t offset);

  // Takes back the session's last Create, as if it had been refused; what it evicted stays so.
  // InvalidArgument: not a lease that writes, placed, or another shard of the entry came later.
  absl::Status Withdraw(SessionId session, LeaseId lease, Changes* changes);

  // The shard (Created) that Seal would seal now; errors as those of Seal.
  absl::StatusOr<uint32_t> ShardToSeal(SessionId session, LeaseId lease) const;

  // The shard is written; the lease goes on as a reader's. True when the entry is visible now.
  // `is_tip`: the last that the caller will seal of this chain for now (Watch).
  //   InvalidArgument     not a lease that writes
  //   FailedPrecondition  not placed
  //   Aborted             another rank's writer is gone and the entry with it; release the lease
  absl::StatusOr<bool> Seal(SessionId session, LeaseId lease, bool is_tip, Changes* changes);

  // Leases the longest visible prefix of a chain of keys, its root first, and sets `blocks` to this
  // rank's shards of it. The first key may lie anywhere in its chain.
  // InvalidArgument: no such session. ResourceExhausted: its leases, or all.
  absl::StatusOr<Hit> Lookup(SessionId session, uint32_t rank, absl::Span<const EntryKey> keys,
                             std::vector<ShardBytes>* blocks);

  // Leases a visible entry without counting as a use of it, and sets `shards` to those of all its
  // ranks, in their order. NotFound: not visible. Others as Lookup.
  absl::StatusOr<LeaseId> LeaseEntry(SessionId session, const EntryKey& key,
                                     std::vector<ShardBytes>* shards);

  // A shard not yet sealed is given up: its entry is dropped. InvalidArgument: not its lease.
  absl::Status Release(SessionId session, LeaseId lease, Changes* changes);

  // Keeps an entry, and the chain above it, until `until`, whatever was said before.
  // NotFound: not visible. ResourceExhausted: max_pins.
  absl::Status Pin(const EntryKey& key, TimePoint until);
  // NotFound: not visible, or not pinned.
  absl::Status Unpin(const EntryKey& key);
  // Ends pins whose time has come; Create and Evict do so too.
  void ExpirePins(TimePoint now);

  // A block of the entry proved to be corrupt: drops it. NotFound: not visible.
  absl::Status Invalidate(const EntryKey& key, Changes* changes);

  // Evicts until `bytes` are gone, or nothing more can go; returns how many went.
  int64_t Evict(int64_t bytes, TimePoint now, Changes* changes);

  // Evicts up to `max_entries` that may go, of all tenants or of the partition of one: a tenant
  // without a quota goes with all others that have none. REQUIRES: it exists.
  Purged Purge(std::optional<TenantIdx> tenant, uint32_t max_entries, TimePoint now,
               Changes* changes);

  // Evicts this entry, whoever's turn it is, if it may go: visible, and not leased, pinned or with
  // children. False: it stays. For whoever needs the room just there.
  bool EvictEntry(EntryIdx idx, Changes* changes);

  // Appends the visible entries that Watch has heard of, among up to `max_entries` from `begin`
  // on (0 at first); returns where to go on, nullopt at the end.
  std::optional<EntryIdx> ListAnnounced(EntryIdx begin, uint32_t max_entries,
                                        std::vector<EntryEvent>* events) const;
  // The same of all entries, dropped ones included.
  std::optional<EntryIdx> ListEntries(EntryIdx begin, uint32_t max_entries,
                                      std::vector<EntryInfo>* entries) const;
  // How many places these walk now: all that ever had an entry.
  uint32_t num_places() const { return entries_.end(); }

  EntryTableGauges gauges() const;

 private:
  struct Found;
  absl::Status CheckShard(const NewShard& shard) const;
  absl::StatusOr<Found> FindForCreate(const NewShard& shard, Changes* changes);
  absl::Status CheckJoins(EntryIdx idx, const NewShard& shard) const;
  Created InProgress(EntryIdx idx) const;
  absl::Status MakeRoom(const NewShard& shard, bool adds_entry, TimePoint now, Changes* changes);
  bool MeetsAny(std::optional<TenantIdx> tenant) const;
  bool EvictOne(Changes* changes);
  bool EvictOneOf(uint32_t partition, Changes* changes);
  Created BeginWriting(SessionId session, EntryIdx idx, const NewShard& shard);
  LeaseId AddReader(SessionId session, EntryIdx idx);
  void RemoveLease(uint32_t lease);
  void FinishEviction(EntryIdx idx, Changes* changes);
  template <typename Visit>
  std::optional<EntryIdx> VisitEntries(EntryIdx begin, uint32_t max_entries, Visit visit) const;
  static EntryEvent EventOf(EntryEvent::Kind kind, const Entry& entry);
  static void AnnounceLoss(const Entry& entry, Changes* changes);
  void Hold(EntryIdx idx);
  void Unhold(EntryIdx idx);
  void MakeVisible(EntryIdx idx, Changes* changes);
  void EndLease(uint32_t lease, Changes* changes);
  void Drop(EntryIdx idx, Changes* changes);
  void Settle(EntryIdx idx, Changes* changes);
  EntryIdx Remove(EntryIdx idx, Changes* changes);
  bool IsBlocked(EntryIdx idx) const;

  const EntryTableOptions options_;
  const std::unique_ptr<EvictionOrder> order_;
  EntryStore entries_;
  LeaseTable leases_;
  PinTable pins_;
  TenantTable tenants_;
  uint32_t num_sealed_ = 0;
  uint32_t num_dropped_ = 0;
  uint32_t num_leased_ = 0;
  int64_t leased_bytes_ = 0;
  uint64_t num_evicted_ = 0;
  std::vector<bool> excluded_;   // scratch of EvictOne
  std::vector<EntryIdx> chain_;  // scratch of Lookup
};

}  // namespace skv::kvstore
