#pragma once
// Sealed sentence blocks in an arena: joins the index (who holds what, what goes first), the
// allocator (where blocks lie) and the arena's bytes. What the server of sessions calls.
//
// Clients write blocks where Create tells them, straight into shared memory. So nothing that the
// store relies on lies there; a block's header is read once, when it is sealed, and compared with
// what Create was told. The payload and its checksum are its writer's word: whoever leases a block
// for the first time checks it, and says Invalidate.
//
// A block stays where it was created until nobody holds it: leased blocks neither move nor vanish.
//
// Room: the index evicts until the bytes are there, then the allocator looks for a hole. While it
// finds none, the next victim goes; and while less than `widen_below` of the arena is live, the
// victim's hole is widened by evicting its neighbours that may go, the smaller one first. That is
// what keeps a full arena full (block_allocator.h).
//
// Cost: that of the entry table; nothing walks all keys. Not thread-safe: one owner.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/block_key.h"
#include "common/clock.h"
#include "common/page_memory.h"
#include "kvstore/arena/block_allocator.h"
#include "kvstore/index/entry_table.h"

namespace skv::kvstore {

struct BlockStoreOptions {
  EntryTableOptions index;  // capacity_bytes: at most the arena's, in whole kBlockUnit
  // Live share of the arena below which holes are widened. 0: never; 1: always.
  double widen_below = 0.95;
  // With less live than that, Create gives up after it has evicted so many times the block's bytes
  // without finding a hole: one large block among many leased ones must not empty the store. The
  // next call gets further. At least 1.
  int max_evicted_per_byte = 64;
};

// A block to be written: its header will name all this (kvstore/block).
struct NewBlock {
  EntryKey key;
  PrefixKey parent;       // the sentence before
  bool is_first = false;  // there is none: `parent` is not looked at, its root only in the header
  TenantIdx tenant = 0;
  uint32_t rank = 0;
  uint32_t world_size = 1;
  int num_tokens = 0;
  uint64_t payload_bytes = 0;
};

struct CreatedBlock {
  Created::Outcome outcome = Created::Outcome::kCreated;
  LeaseId lease;           // kCreated: the writer's
  uint64_t offset = 0;     // kCreated: of the header in the arena, a multiple of kBlockUnit
  uint64_t num_bytes = 0;  // kCreated: what may be written there
  std::optional<SessionId> writer;  // kInProgress: see Created
};

// What happened that others must hear of, in order.
struct StoreNews {
  std::vector<EntryEvent> events;   // for Watch
  std::vector<EntryKey> sealed;     // whoever waits for them can go on,
  std::vector<EntryKey> abandoned;  // or try to create them
};

struct BlockStoreGauges {
  EntryTableGauges index;
  uint64_t arena_bytes = 0;
  uint64_t live_bytes = 0;       // equals index.bytes
  uint64_t committed_bytes = 0;  // see BlockAllocator
  uint64_t num_blocks = 0;       // equals index.num_shards
  uint64_t num_widening = 0;     // entries evicted to widen a hole, since the start
};

class BlockStore {
 public:
  // `arena` outlives the store; its contents do not matter.
  // REQUIRES: options.index.Validate().ok(), its capacity fits; `order` was created for
  // options.index.order().
  BlockStore(const BlockStoreOptions& options, std::unique_ptr<EvictionOrder> order,
             std::span<std::byte> arena);
  BlockStore(const BlockStore&) = delete;
  BlockStore& operator=(const BlockStore&) = delete;

  // Sessions and tenants are those of the entry table.
  absl::StatusOr<SessionId> OpenSession() { return table_.OpenSession(); }
  absl::Status CloseSession(SessionId session);
  TenantTable& tenants() { return table_.tenants(); }

  // One result for each block, in order: a block may be the parent of the next. The header's place
  // is cleared; the writer fills in header and payload, then calls Seal.
  //   InvalidArgument    no such session or tenant; sizes or ranks out of range; another entry has
  //                      this key
  //   NotFound           the parent is not there
  //   ResourceExhausted  no room, or no hole large enough: too much is leased or pinned; a limit
  //                      of sessions, leases or tables. All but what was evicted is as before.
  std::vector<absl::StatusOr<CreatedBlock>> Create(SessionId session,
                                                   absl::Span<const NewBlock> blocks,
                                                   TimePoint now);

  // One result for each lease: whether the entry is visible now. The lease goes on as a reader's.
  // `is_tip`: the last one is the tip of its chain for now (Watch).
  //   InvalidArgument  not a lease that writes; or what lies there is no header of the block that
  //                    was created: the block is abandoned, the lease has ended
  //   Aborted          another rank's writer is gone and the entry with it; release the lease
  std::vector<absl::StatusOr<bool>> Seal(SessionId session, absl::Span<const LeaseId> leases,
                                         bool is_tip);

  // One lease on the longest visible prefix of a chain of keys, and where its blocks of this rank
  // lie. Errors as those of EntryTable::Lookup.
  absl::StatusOr<Hit> Get(SessionId session, uint32_t rank, absl::Span<const EntryKey> keys,
                          std::vector<ShardBytes>* blocks) {
    return table_.Lookup(session, rank, keys, blocks);
  }

  // One lease on one visible entry, for whoever looks after blocks; and where those of all ranks
  // lie. As EntryTable::LeaseEntry.
  absl::StatusOr<LeaseId> Hold(SessionId session, const EntryKey& key,
                               std::vector<ShardBytes>* blocks) {
    return table_.LeaseEntry(session, key, blocks);
  }

  // Ends leases; a block not yet sealed is given up. The first error; all others are released.
  absl::Status Release(SessionId session, absl::Span<const LeaseId> leases);

  // See the entry table.
  absl::Status Invalidate(const EntryKey& key);
  absl::Status Pin(const EntryKey& key, TimePoint until) { return table_.Pin(key, until); }
  absl::Status Unpin(const EntryKey& key) { return table_.Unpin(key); }
  void ExpirePins(TimePoint now) { table_.ExpirePins(now); }
  int64_t Evict(int64_t bytes, TimePoint now);
  Purged Purge(std::optional<TenantIdx> tenant, uint32_t max_entries, TimePoint now);
  std::optional<EntryIdx> ListAnnounced(EntryIdx begin, uint32_t max_entries,
                                        std::vector<EntryEvent>* events) const {
    return table_.ListAnnounced(begin, max_entries, events);
  }
  std::optional<EntryIdx> ListEntries(EntryIdx begin, uint32_t max_entries,
                                      std::vector<EntryInfo>* entries) const {
    return table_.ListEntries(begin, max_entries, entries);
  }

  uint32_t num_places() const { return table_.num_places(); }

  // What came since the last call. To be drained after each operation: it grows without bound.
  StoreNews TakeNews();

  BlockStoreGauges gauges() const;

 private:
  // Outside of the arena, by shard.
  struct Block {
    NewBlock created;
    EntryIdx entry = kNoEntry;
    Placement placement = {};
    uint64_t num_bytes = 0;
  };

  absl::StatusOr<CreatedBlock> CreateOne(SessionId session, const NewBlock& block, TimePoint now);
  absl::StatusOr<bool> SealOne(SessionId session, LeaseId lease, bool is_tip);
  absl::Status CheckHeader(const Block& block) const;
  bool IsWidening() const;
  std::optional<Placement> FindPlace(uint64_t num_bytes, uint32_t shard, TimePoint now);
  void Widen(Hole hole, uint64_t num_bytes);
  std::optional<Hole> EvictNeighbour(const std::optional<Neighbour>& neighbour);
  std::optional<Hole> FreeChanged(uint32_t last = kNoShard);
  absl::Status NoHole(uint64_t num_bytes) const;

  const BlockStoreOptions options_;
  const std::span<std::byte> arena_;
  EntryTable table_;
  BlockAllocator allocator_;                         // owners are shards
  std::vector<Block, PageAllocator<Block>> blocks_;  // by shard; live as long as the table's shard
  Changes changes_;                                  // `freed` is empty between calls
  uint64_t num_widening_ = 0;
};

}  // namespace skv::kvstore
