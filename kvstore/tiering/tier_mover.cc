#include "kvstore/tiering/tier_mover.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "kvstore/tiering/entry_check.h"

namespace skv::kvstore {
namespace {

constexpr int kLogSeconds = 10;
constexpr auto kStepTime = std::chrono::seconds(1);
// Entries that a first call asks for: a prompt that nobody has read costs one such call.
constexpr size_t kFirstKeys = 8;
// What a batch brings into this process's memory.
constexpr size_t kReadBytes = 16 << 20;
constexpr size_t kMaxHeldEntries = 16;
// What is damaged beyond that is erased when it is met again.
constexpr size_t kMaxToErase = 1024;

bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

// Without what the arena rounds up.
std::span<const std::byte> WholeOf(const ParsedBlock& block, std::span<const std::byte> bytes) {
  return bytes.first(HeaderBytes(static_cast<int>(block.header.tokens.size())) +
                     block.header.payload_bytes);
}

NewBlock ToCreate(const Seek& seek, const EntryKey& key, const BlockHeader& header) {
  return {.key = key,
          .parent = header.parent,
          .is_first = header.is_first,
          .tenant = seek.tenant,
          .rank = static_cast<uint32_t>(header.id.rank),
          .world_size = seek.world_size,
          .num_tokens = static_cast<int>(header.tokens.size()),
          .payload_bytes = header.payload_bytes};
}

}  // namespace

TierMover::TierMover(const TierMoverOptions& options, Tier* tier, std::vector<TierInbox*> inboxes,
                     size_t position, StoreOwner* owner, const Clock* clock)
    : options_(options),
      tier_(tier),
      inboxes_(std::move(inboxes)),
      position_(position),
      owner_(owner),
      clock_(clock) {}

TierMover::~TierMover() { SKV_CHECK(!thread_.joinable()); }

void TierMover::Start() {
  thread_ = std::thread([this] {
    while (Step(clock_->Now() + kStepTime)) {
    }
  });
}

void TierMover::Stop() {
  inboxes_[position_]->Stop();
  if (thread_.joinable()) thread_.join();
}

bool TierMover::Step(TimePoint deadline) {
  std::optional<TierInbox::Work> work =
      inboxes_[position_]->Take(kMaxHeldEntries, writes_from_, deadline);
  if (!work.has_value()) return false;
  if (work->seek.has_value()) Promote(*std::move(work->seek));
  if (!work->writes.empty()) Write(work->writes);
  return true;
}

// A call of the tier, with its deadline; what others learn of the tier by it.
template <typename Call>
auto TierMover::CallTier(Call call) {
  TierInbox& inbox = *inboxes_[position_];
  const TimePoint now = clock_->Now();
  inbox.SetBusySince(now);
  auto result = call(now + options_.call_time);
  inbox.SetBusySince(TimePoint::max());
  inbox.SetOn(tier_->gauges().is_on);
  return result;
}

void TierMover::Promote(Seek seek) {
  const size_t max_keys = std::max<size_t>(Tier::kMaxBatch / seek.world_size, 1);
  size_t num_keys = std::min(kFirstKeys, max_keys);
  size_t num_found = 0;
  while (num_found < seek.keys.size() && clock_->Now() < seek.deadline) {
    num_keys = std::min(num_keys, seek.keys.size() - num_found);
    const FoundBatch batch = Read(seek, num_found, num_keys);
    const std::vector<FoundEntry>& found = batch.entries;
    const size_t num_read = num_found + num_keys;
    const size_t num_placed = Copy(seek, found);
    num_found += num_placed;
    if (num_placed < found.size()) return EndSeek(seek.id, /*has_room=*/false);
    if (found.size() < num_keys) {
      PassOn(seek, num_found);
      if (batch.num_damaged > 0) EraseDamaged(seek, num_read);
      return;
    }
    size_t num_bytes = 1;
    for (const FoundEntry& entry : found) {
      for (const TierValue& value : entry.values) num_bytes += value.bytes.size();
    }
    num_keys = std::clamp<size_t>(kReadBytes * found.size() / num_bytes, 1, max_keys);
  }
  EndSeek(seek.id, /*has_room=*/true);
}

// To the next tier that is there.
void TierMover::PassOn(Seek seek, size_t num_found) {
  const SeekId id = seek.id;
  if (num_found > 0) seek.parent = seek.keys[num_found - 1].prefix;
  seek.keys.erase(seek.keys.begin(), seek.keys.begin() + static_cast<ptrdiff_t>(num_found));
  for (size_t i = position_ + 1; i < inboxes_.size(); ++i) {
    const bool is_usable = inboxes_[i]->IsUsable(clock_->Now(), 2 * options_.call_time);
    if (is_usable && inboxes_[i]->PushSeek(seek)) return;
  }
  EndSeek(id, /*has_room=*/true);
}

void TierMover::EndSeek(SeekId id, bool has_room) {
  owner_->Run([&](TierDesk* desk) { desk->EndSeek(id, has_room, clock_->Now()); });
}

// Of the keys from `begin` on, as long as there is any: they often come together, as after a change
// of the blocks' version. Nobody waits for it but other seeks, and these for what remains of this
// one's time. A tier that is only read is not ours to clean.
void TierMover::EraseDamaged(const Seek& seek, size_t begin) {
  if (inboxes_[position_]->limits().max_writes == 0) return;
  const size_t max_keys = std::max<size_t>(Tier::kMaxBatch / seek.world_size, 1);
  size_t num_damaged = 1;
  while (num_damaged > 0 && begin < seek.keys.size() && clock_->Now() < seek.deadline) {
    const size_t num_keys = std::min({kFirstKeys, max_keys, seek.keys.size() - begin});
    num_damaged = Read(seek, begin, num_keys).num_damaged;
    begin += num_keys;
  }
}

TierMover::FoundBatch TierMover::Read(const Seek& seek, size_t begin, size_t num_keys) {
  std::vector<TierKey> keys;
  for (size_t i = begin; i < begin + num_keys; ++i) {
    for (uint32_t rank = 0; rank < seek.world_size; ++rank) keys.push_back({seek.keys[i], rank});
  }
  // Not that of the seek: a healthy tier that was given too little time would be taken for a lost
  // one. Whoever asked is told in time by the desk.
  auto values = CallTier([&](TimePoint deadline) { return tier_->Get(keys, deadline); });
  FoundBatch batch;
  if (!values.ok() || values->size() != keys.size()) {
    SKV_LOG_EVERY_SECONDS(WARNING, kLogSeconds)
        << "tier " << tier_->name() << ": blocks are not read: " << values.status().ToString();
    return batch;
  }
  std::vector<TierKey> damaged;
  bool is_whole = true;
  for (const absl::StatusOr<TierValue>& value : *values) {
    if (absl::IsDataLoss(value.status())) ++batch.num_damaged;
  }
  for (size_t i = 0; i < num_keys; ++i) {
    std::optional<FoundEntry> entry =
        Check(seek, begin + i, std::span(*values).subspan(i * seek.world_size, seek.world_size),
              &damaged);
    is_whole &= entry.has_value();
    if (is_whole) batch.entries.push_back(*std::move(entry));
  }
  batch.num_damaged += damaged.size();
  Count(&TierMoverGauges::num_corrupt_blocks, batch.num_damaged);
  if (!damaged.empty()) Erase(damaged);
  return batch;
}

// The entry of this key, if all is there and as it must be. What is damaged is added to `damaged`.
std::optional<TierMover::FoundEntry> TierMover::Check(const Seek& seek, size_t index,
                                                      std::span<absl::StatusOr<TierValue>> values,
                                                      std::vector<TierKey>* damaged) {
  FoundEntry entry{.key = seek.keys[index]};
  std::optional<PrefixKey> parent = seek.parent;
  if (index > 0) parent = seek.keys[index - 1].prefix;
  for (uint32_t rank = 0; rank < seek.world_size; ++rank) {
    if (!values[rank].ok()) continue;
    absl::StatusOr<ParsedBlock> block =
        CheckBlock({entry.key, rank}, seek.world_size, values[rank]->bytes,
                   absl::StrCat("tier ", Sv(tier_->name())));
    if (!block.ok()) {
      SKV_LOG_EVERY_SECONDS(WARNING, kLogSeconds)
          << "a block is erased: " << block.status().ToString();
      damaged->push_back({entry.key, rank});
    } else if (!parent.has_value() ||
               (!block->header.is_first && block->header.parent == *parent)) {
      entry.values.push_back(*std::move(values[rank]));
      entry.blocks.push_back(*std::move(block));
    }
  }
  if (entry.blocks.size() < seek.world_size) return std::nullopt;
  return entry;
}

void TierMover::Erase(const std::vector<TierKey>& keys) {
  const size_t num_taken = std::min(keys.size(), kMaxToErase - to_erase_.size());
  to_erase_.insert(to_erase_.end(), keys.begin(), keys.begin() + static_cast<ptrdiff_t>(num_taken));
  EraseWaiting().IgnoreError();
}

// Of what fails for good the next reader finds it damaged again.
absl::Status TierMover::EraseWaiting() {
  while (!to_erase_.empty()) {
    const auto keys = std::span(to_erase_).first(std::min(to_erase_.size(), Tier::kMaxBatch));
    const absl::Status erased =
        CallTier([&](TimePoint deadline) { return tier_->Erase(keys, deadline); });
    if (MayPass(erased)) return erased;
    to_erase_.erase(to_erase_.begin(), to_erase_.begin() + static_cast<ptrdiff_t>(keys.size()));
  }
  return absl::OkStatus();
}

// Makes them visible, as long as there is room; returns how many are.
size_t TierMover::Copy(const Seek& seek, const std::vector<FoundEntry>& found) {
  if (found.empty()) return 0;
  std::vector<NewEntry> entries;
  for (const FoundEntry& entry : found) {
    NewEntry& created = entries.emplace_back();
    for (const ParsedBlock& block : entry.blocks) {
      created.blocks.push_back(ToCreate(seek, entry.key, block.header));
    }
  }
  std::vector<PlacedEntry> placed;
  owner_->Run([&](TierDesk* desk) { placed = desk->Place(seek.id, entries, clock_->Now()); });
  for (size_t i = 0; i < placed.size(); ++i) {
    for (size_t rank = 0; rank < placed[i].places.size(); ++rank) {
      const auto bytes = WholeOf(found[i].blocks[rank], found[i].values[rank].bytes);
      std::memcpy(placed[i].places[rank].data(), bytes.data(), bytes.size());
    }
  }
  if (placed.empty()) return 0;
  bool are_sealed = false;
  owner_->Run([&](TierDesk* desk) { are_sealed = desk->Seal(seek.id, placed); });
  if (!are_sealed) return 0;
  Count(&TierMoverGauges::num_found_entries, placed.size());
  for (size_t i = 0; i < placed.size(); ++i) {
    for (size_t before = 0; before < position_; ++before) {
      inboxes_[before]->PushWrite(found[i].key);
    }
  }
  return placed.size();
}

void TierMover::Write(const std::vector<EntryKey>& keys) {
  std::vector<HeldEntry> held;
  owner_->Run([&](TierDesk* desk) { held = desk->Hold(keys); });
  std::vector<LeaseId> leases;
  std::vector<EntryKey> damaged;
  std::vector<EntryKey> written;
  std::vector<HeldEntry> whole;
  for (HeldEntry& entry : held) {
    leases.push_back(entry.lease);
    const absl::Status check = CheckEntry(entry);
    if (check.ok()) {
      written.push_back(entry.key);
      whole.push_back(std::move(entry));
    } else {
      SKV_LOG_EVERY_SECONDS(WARNING, kLogSeconds) << "a block is dropped: " << check.ToString();
      damaged.push_back(entry.key);
    }
  }
  // First: a tier takes what it has for written.
  absl::Status put = EraseWaiting();
  if (put.ok()) put = Put(whole);
  if (!put.ok()) {
    SKV_LOG_EVERY_SECONDS(WARNING, kLogSeconds)
        << "tier " << tier_->name() << ": blocks are not written: " << put.ToString();
    writes_from_ = clock_->Now() + options_.retry_time;
  }
  const bool may_pass = MayPass(put);
  if (may_pass) inboxes_[position_]->PutBack(written);
  const bool is_kept = put.ok() || may_pass;
  Count(&TierMoverGauges::num_written_entries, put.ok() ? whole.size() : 0);
  Count(&TierMoverGauges::num_failed_writes, is_kept ? 0 : whole.size());
  Count(&TierMoverGauges::num_damaged_entries, damaged.size());
  owner_->Run([&](TierDesk* desk) {
    desk->Release(leases);
    desk->Invalidate(damaged);
  });
}

absl::Status TierMover::Put(const std::vector<HeldEntry>& entries) {
  std::vector<TierBlock> blocks;
  for (const HeldEntry& entry : entries) {
    for (uint32_t rank = 0; rank < entry.blocks.size(); ++rank) {
      const std::span<const std::byte> bytes = entry.blocks[rank];
      const auto header = ParseBlockHeader(bytes, "arena");
      if (!header.ok()) continue;  // it was whole a moment ago: a client writes where it must not
      const size_t num_bytes =
          HeaderBytes(static_cast<int>(header->tokens.size())) + header->payload_bytes;
      if (num_bytes <= bytes.size()) blocks.push_back({{entry.key, rank}, bytes.first(num_bytes)});
    }
  }
  for (size_t begin = 0; begin < blocks.size();) {
    size_t num_blocks = 0, num_bytes = 0;
    while (begin + num_blocks < blocks.size() && num_blocks < Tier::kMaxBatch &&
           num_bytes < options_.max_write_bytes) {
      num_bytes += blocks[begin + num_blocks++].bytes.size();
    }
    const auto part = std::span(blocks).subspan(begin, num_blocks);
    SKV_RETURN_IF_ERROR(CallTier([&](TimePoint deadline) { return tier_->Put(part, deadline); }));
    begin += num_blocks;
  }
  return absl::OkStatus();
}

void TierMover::Count(uint64_t TierMoverGauges::*total, uint64_t by) {
  const MutexLock lock(&mutex_);
  gauges_.*total += by;
}

TierMoverGauges TierMover::gauges() const {
  const MutexLock lock(&mutex_);
  return gauges_;
}

}  // namespace skv::kvstore
