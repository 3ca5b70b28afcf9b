#include "kvstore/store/block_store.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rounding.h"
#include "common/status.h"
#include "kvstore/block/block_header.h"

namespace skv::kvstore {
namespace {

absl::Status CheckSizes(const NewBlock& block) {
  SKV_RETURN_IF_ERROR(CheckRange("block: num_tokens", block.num_tokens, 1, kMaxBlockTokens));
  if (block.payload_bytes >= 1 && block.payload_bytes <= kMaxPayloadBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("block: payload_bytes is ", block.payload_bytes,
                                                 ", expected 1 to ", kMaxPayloadBytes));
}

}  // namespace

BlockStore::BlockStore(const BlockStoreOptions& options, std::unique_ptr<EvictionOrder> order,
                       std::span<std::byte> arena)
    : options_(options),
      arena_(arena),
      table_(options.index, std::move(order)),
      allocator_(arena.size()) {
  SKV_CHECK(static_cast<uint64_t>(options.index.capacity_bytes) <= allocator_.arena_bytes());
  blocks_.reserve(options.index.max_shards);
}

absl::Status BlockStore::CloseSession(SessionId session) {
  absl::Status status = table_.CloseSession(session, &changes_);
  FreeChanged();
  return status;
}

std::vector<absl::StatusOr<CreatedBlock>> BlockStore::Create(SessionId session,
                                                             absl::Span<const NewBlock> blocks,
                                                             TimePoint now) {
  std::vector<absl::StatusOr<CreatedBlock>> results;
  results.reserve(blocks.size());
  for (const NewBlock& block : blocks) results.push_back(CreateOne(session, block, now));
  return results;
}

absl::StatusOr<CreatedBlock> BlockStore::CreateOne(SessionId session, const NewBlock& block,
                                                   TimePoint now) {
  SKV_RETURN_IF_ERROR(CheckSizes(block));
  const uint64_t num_bytes =
      RoundUp(HeaderBytes(block.num_tokens) + block.payload_bytes, kBlockUnit);
  NewShard shard{.key = block.key,
                 .tenant = block.tenant,
                 .rank = block.rank,
                 .world_size = block.world_size,
                 .bytes = static_cast<int64_t>(num_bytes)};
  if (!block.is_first) shard.parent = block.parent;
  const absl::StatusOr<Created> created = table_.Create(session, shard, now, &changes_);
  FreeChanged();
  SKV_RETURN_IF_ERROR(created.status());
  if (created->outcome != Created::Outcome::kCreated) {
    return CreatedBlock{.outcome = created->outcome, .writer = created->writer};
  }
  // From here on the writer's lease keeps the entry and its chain from making room for it.
  const std::optional<Placement> placement = FindPlace(num_bytes, created->shard, now);
  if (!placement.has_value()) {
    SKV_CHECK(table_.Withdraw(session, created->lease, &changes_).ok());
    FreeChanged();
    return NoHole(num_bytes);
  }
  SKV_CHECK(table_.Place(session, created->lease, static_cast<int64_t>(placement->offset)).ok());
  if (created->shard >= blocks_.size()) blocks_.resize(created->shard + 1);
  blocks_[created->shard] = {block, created->entry, *placement, num_bytes};
  // A header of this key may still lie here from before, with another block's payload behind it.
  std::memset(arena_.data() + placement->offset, 0, kBlockUnit);
  return CreatedBlock{.lease = created->lease, .offset = placement->offset, .num_bytes = num_bytes};
}

bool BlockStore::IsWidening() const {
  return static_cast<double>(allocator_.live_bytes()) <
         options_.widen_below * static_cast<double>(allocator_.arena_bytes());
}

// What is evicted before holes are widened is not counted: it may take a few hundredths of the
// arena, far more than a small block's own limit.
std::optional<Placement> BlockStore::FindPlace(uint64_t num_bytes, uint32_t shard, TimePoint now) {
  const uint64_t max_evicted = num_bytes * options_.max_evicted_per_byte;
  uint64_t num_evicted = 0;
  std::optional<Placement> placement = allocator_.Allocate(num_bytes, shard);
  while (!placement.has_value() && num_evicted < max_evicted) {
    const uint64_t live_bytes = allocator_.live_bytes();
    if (table_.Evict(1, now, &changes_) == 0) break;
    const std::optional<Hole> hole = FreeChanged();
    if (hole.has_value() && IsWidening()) {
      Widen(*hole, num_bytes);
      num_evicted += live_bytes - allocator_.live_bytes();
    }
    placement = allocator_.Allocate(num_bytes, shard);
  }
  return placement;
}

void BlockStore::Widen(Hole hole, uint64_t num_bytes) {
  while (hole.num_bytes < num_bytes) {
    std::optional<Neighbour> first = hole.before, second = hole.after;
    if (!first.has_value() || (second.has_value() && second->num_bytes < first->num_bytes)) {
      std::swap(first, second);
    }
    std::optional<Hole> wider = EvictNeighbour(first);
    if (!wider.has_value()) wider = EvictNeighbour(second);
    if (!wider.has_value()) return;
    hole = *wider;
  }
}

// The hole that it leaves; nullopt when there is none, or it may not go.
std::optional<Hole> BlockStore::EvictNeighbour(const std::optional<Neighbour>& neighbour) {
  if (!neighbour.has_value()) return std::nullopt;
  if (!table_.EvictEntry(blocks_[neighbour->owner].entry, &changes_)) return std::nullopt;
  ++num_widening_;
  return FreeChanged(neighbour->owner);
}

// Gives the memory that the table let go of back to the allocator, that of the shard `last` after
// all others, since freeing one block may widen the hole of another. Returns the hole of the one
// freed last.
std::optional<Hole> BlockStore::FreeChanged(uint32_t last) {
  std::optional<Hole> hole;
  const auto is_other = [last](const FreedShard& freed) { return freed.shard != last; };
  std::partition(changes_.freed.begin(), changes_.freed.end(), is_other);
  for (const FreedShard& freed : changes_.freed) {
    hole = allocator_.Free(blocks_[freed.shard].placement);
    blocks_[freed.shard].entry = kNoEntry;
  }
  changes_.freed.clear();
  return hole;
}

absl::Status BlockStore::NoHole(uint64_t num_bytes) const {
  const EntryTableGauges index = table_.gauges();
  return absl::ResourceExhaustedError(absl::StrCat(
      "block of ", num_bytes, " bytes: no hole in the arena is large enough; ",
      allocator_.live_bytes(), " of ", allocator_.arena_bytes(), " bytes are live, ",
      index.leased_bytes, " bytes in ", index.num_leased, " entries are held by leases"));
}

std::vector<absl::StatusOr<bool>> BlockStore::Seal(SessionId session,
                                                   absl::Span<const LeaseId> leases, bool is_tip) {
  std::vector<absl::StatusOr<bool>> results;
  results.reserve(leases.size());
  for (size_t i = 0; i < leases.size(); ++i) {
    results.push_back(SealOne(session, leases[i], is_tip && i + 1 == leases.size()));
  }
  return results;
}

absl::StatusOr<bool> BlockStore::SealOne(SessionId session, LeaseId lease, bool is_tip) {
  SKV_ASSIGN_OR_RETURN(const uint32_t shard, table_.ShardToSeal(session, lease));
  if (const absl::Status header = CheckHeader(blocks_[shard]); !header.ok()) {
    SKV_CHECK(table_.Release(session, lease, &changes_).ok());
    FreeChanged();
    return header;
  }
  return table_.Seal(session, lease, is_tip, &changes_);
}

absl::Status BlockStore::CheckHeader(const Block& block) const {
  const NewBlock& created = block.created;
  const std::string name = absl::StrCat("arena at ", block.placement.offset);
  const absl::StatusOr<BlockHeader> header =
      ParseBlockHeader(arena_.subspan(block.placement.offset, block.num_bytes), name);
  if (!header.ok()) return absl::InvalidArgumentError(header.status().message());
  const auto mismatch = [&name](std::string_view field, const auto& got, const auto& expected) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": block: ", Sv(field), " is ", got,
                                                   ", expected ", expected, " as created"));
  };
  if (header->id.prefix != created.key.prefix) {
    return mismatch("prefix key", ToHex(header->id.prefix), ToHex(created.key.prefix));
  }
  if (header->id.layout != created.key.layout) {
    return mismatch("layout id", ToHex(header->id.layout), ToHex(created.key.layout));
  }
  if (header->is_first != created.is_first) {
    return mismatch("is_first", header->is_first, created.is_first);
  }
  if (!created.is_first && header->parent != created.parent) {
    return mismatch("parent key", ToHex(header->parent), ToHex(created.parent));
  }
  if (header->id.rank != static_cast<int>(created.rank)) {
    return mismatch("rank", header->id.rank, created.rank);
  }
  if (header->group_size != static_cast<int>(created.world_size)) {
    return mismatch("group_size", header->group_size, created.world_size);
  }
  if (header->tokens.size() != static_cast<size_t>(created.num_tokens)) {
    return mismatch("num_tokens", header->tokens.size(), created.num_tokens);
  }
  if (header->payload_bytes != created.payload_bytes) {
    return mismatch("payload_bytes", header->payload_bytes, created.payload_bytes);
  }
  return absl::OkStatus();
}

absl::Status BlockStore::Release(SessionId session, absl::Span<const LeaseId> leases) {
  absl::Status first_error;
  for (const LeaseId lease : leases) first_error.Update(table_.Release(session, lease, &changes_));
  FreeChanged();
  return first_error;
}

absl::Status BlockStore::Invalidate(const EntryKey& key) {
  absl::Status status = table_.Invalidate(key, &changes_);
  FreeChanged();
  return status;
}

int64_t BlockStore::Evict(int64_t bytes, TimePoint now) {
  const int64_t evicted = table_.Evict(bytes, now, &changes_);
  FreeChanged();
  return evicted;
}

Purged BlockStore::Purge(std::optional<TenantIdx> tenant, uint32_t max_entries, TimePoint now) {
  const Purged purged = table_.Purge(tenant, max_entries, now, &changes_);
  FreeChanged();
  return purged;
}

StoreNews BlockStore::TakeNews() {
  return {std::exchange(changes_.events, {}), std::exchange(changes_.sealed, {}),
          std::exchange(changes_.abandoned, {})};
}

BlockStoreGauges BlockStore::gauges() const {
  return {.index = table_.gauges(),
          .arena_bytes = allocator_.arena_bytes(),
          .live_bytes = allocator_.live_bytes(),
          .committed_bytes = allocator_.committed_bytes(),
          .num_blocks = allocator_.num_blocks(),
          .num_widening = num_widening_};
}

}  // namespace skv::kvstore
