#include "kvstore/tier/rocksdb_tier.h"

#include <rocksdb/db.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "kvstore/tier/nvme_index.h"
#include "kvstore/tier/oldest_rows.h"
#include "kvstore/tier/rocksdb_database.h"
#include "kvstore/tier/rocksdb_plan.h"
#include "kvstore/tier/tier_key.h"
#include "kvstore/tier/tier_tally.h"

namespace skv::kvstore {
namespace {

constexpr auto kShrinkTimeout = std::chrono::minutes(1);

rocksdb::Slice ToSlice(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class RocksDbTier : public Tier {
 public:
  explicit RocksDbTier(const NvmeTierOptions& options)
      : options_(options),
        max_plan_bytes_(MemtableBytes(options.capacity_bytes) / 2),
        tally_(/*is_on=*/false, options.capacity_bytes) {}

  // Opens what is in the folder, for the first time or anew.
  absl::Status Reopen();

  std::string_view name() const override { return "nvme"; }
  absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> Get(std::span<const TierKey> keys,
                                                             TimePoint deadline) override;
  absl::Status Put(std::span<const TierBlock> blocks, TimePoint deadline) override;
  absl::Status Erase(std::span<const TierKey> keys, TimePoint deadline) override;
  TierGauges gauges() const override { return tally_.gauges(); }

 private:
  absl::Status CheckCall(size_t num_items);
  absl::Status LoadDirectory();
  void ClearIndex();
  void SetTotals(uint64_t num_bytes);
  absl::Status StartOver(std::string_view why);
  absl::Status Open();
  absl::Status MakeWritable();

  absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> Read(std::span<const TierKey> keys,
                                                              TimePoint deadline);
  absl::Status PutAll(std::span<const TierBlock> blocks, TimePoint stalled_until);
  absl::Status MakeRoom(uint64_t bytes, RocksDbPlan* plan);
  bool WriteAgain(const DirectoryRow& row, RocksDbPlan* plan);
  absl::Status Forget(std::span<const TierKey> keys);
  absl::Status Commit(RocksDbPlan* plan, TimePoint stalled_until);
  absl::Status GiveUpWriting(const rocksdb::Status& why);
  absl::Status Count(const absl::Status& status);

  const NvmeTierOptions options_;
  const uint64_t max_plan_bytes_;
  std::unique_ptr<RocksDbDatabase> database_;  // null after it could not be opened again
  NvmeIndex index_;
  uint64_t next_sequence_ = 1;
  OldestRows oldest_;
  bool is_writable_ = true;  // the last write went well
  bool is_damaged_ = false;  // only deleting it all helps
  TierTally tally_;
};

absl::Status RocksDbTier::Open() {
  SKV_ASSIGN_OR_RETURN(database_, RocksDbDatabase::Open(options_));
  SKV_RETURN_IF_ERROR(LoadDirectory());
  RocksDbPlan plan;  // the capacity may have become smaller
  absl::Status status = MakeRoom(0, &plan);
  status.Update(Commit(&plan, RealClock().Now() + kShrinkTimeout));
  // A disk that takes no writes now is met again by the next Put, and can be read meanwhile.
  const bool may_pass = absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status);
  return may_pass ? absl::OkStatus() : status;
}

absl::Status RocksDbTier::LoadDirectory() {
  ClearIndex();
  uint64_t num_bytes = 0;
  std::unique_ptr<rocksdb::Iterator> rows(database_->db().NewIterator(rocksdb::ReadOptions()));
  bool is_whole = true;
  for (rows->Seek(RowName(0)); rows->Valid() && is_whole; rows->Next()) {
    const std::optional<DirectoryRow> row = DecodeRow(rows->key(), rows->value());
    is_whole = row.has_value();
    if (!is_whole) break;
    index_.Set(NvmeIndex::Hash(row->key), {.sequence = row->sequence});
    next_sequence_ = row->sequence + 1;
    num_bytes += row->size;
  }
  const rocksdb::Status status = rows->status();
  rows.reset();
  if (!status.ok()) return StartOver(status.ToString());
  if (!is_whole) return StartOver("a row of its directory is malformed");
  SetTotals(num_bytes);
  return absl::OkStatus();
}

void RocksDbTier::ClearIndex() {
  index_.Clear();
  oldest_.Reset();
  next_sequence_ = 1;
}

// The database is as the index says.
void RocksDbTier::SetTotals(uint64_t num_bytes) {
  is_writable_ = true;
  is_damaged_ = false;
  tally_.Update([&](TierGauges& gauges) {
    gauges.is_on = true;
    gauges.num_blocks = index_.size();
    gauges.num_bytes = num_bytes;
  });
}

absl::Status RocksDbTier::StartOver(std::string_view why) {
  if (absl::Status status = database_->StartOver(why); !status.ok()) {
    database_.reset();
    return status;
  }
  ClearIndex();
  SetTotals(0);
  return absl::OkStatus();
}

absl::Status RocksDbTier::Count(const absl::Status& status) {
  tally_.CountCall(status, /*is_on=*/database_ != nullptr);
  return status;
}

absl::Status RocksDbTier::CheckCall(size_t num_items) {
  if (num_items > kMaxBatch) {
    return absl::InvalidArgumentError(
        absl::StrCat("nvme tier: ", num_items, " blocks in one call, at most ", kMaxBatch));
  }
  if (database_ != nullptr) return absl::OkStatus();
  const absl::Status status = Reopen();
  return status.ok() ? status : absl::UnavailableError(status.message());
}

absl::Status RocksDbTier::Reopen() {
  database_.reset();
  absl::Status status = Open();
  if (!status.ok()) database_.reset();
  return status;
}

// After a write that failed, RocksDB takes no more until it is told to, or opened anew; and what
// it has kept of that write only the disk knows.
absl::Status RocksDbTier::MakeWritable() {
  if (is_writable_) return absl::OkStatus();
  if (is_damaged_) return StartOver("it takes no writes");
  std::error_code error;
  const auto space = std::filesystem::space(options_.folder, error);
  const uint64_t needed = 2 * MemtableBytes(options_.capacity_bytes);
  if (!error && space.available < needed) {
    return absl::ResourceExhaustedError(
        absl::StrCat("nvme tier: the disk of ", options_.folder, " is full: ", space.available,
                     " bytes are left, at least ", needed,
                     " are needed; make room, or give the tier a smaller capacity"));
  }
  if (access(options_.folder.c_str(), W_OK) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("nvme tier: the disk of ", options_.folder,
                                                     " takes no writes: ", std::strerror(errno),
                                                     "; it is written again when it can be"));
  }
  const rocksdb::Status resumed = database_->db().Resume();
  if (resumed.ok()) return LoadDirectory();
  SKV_LOG(WARNING) << "nvme tier: " << options_.folder
                   << " is opened anew, as it takes no writes: " << resumed.ToString();
  const absl::Status status = Reopen();
  return status.ok() ? status : absl::UnavailableError(status.message());
}

absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> RocksDbTier::Get(
    std::span<const TierKey> keys, TimePoint deadline) {
  SKV_RETURN_IF_ERROR(Count(CheckCall(keys.size())));
  auto values = Read(keys, deadline);
  SKV_RETURN_IF_ERROR(Count(values.status()));
  tally_.CountRead(*values);
  for (size_t i = 0; i < keys.size(); ++i) {
    if ((*values)[i].ok()) index_.Mark(NvmeIndex::Hash(keys[i]));
  }
  return values;
}

absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> RocksDbTier::Read(
    std::span<const TierKey> keys, TimePoint deadline) {
  std::vector<absl::StatusOr<TierValue>> values(
      keys.size(), absl::StatusOr<TierValue>(absl::NotFoundError("not in the nvme tier")));
  std::vector<size_t> asked;  // index of each key that may be there
  std::vector<std::string> names;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!index_.Contains(NvmeIndex::Hash(keys[i]))) continue;
    asked.push_back(i);
    names.push_back(BlockName(EncodeTierKey(keys[i])));
  }
  if (asked.empty()) return values;

  std::vector<rocksdb::PinnableSlice> found;
  const std::vector<rocksdb::Status> statuses = database_->Read(names, deadline, &found);
  std::vector<TierKey> damaged;
  bool any_read = false;
  rocksdb::Status failure;
  for (size_t i = 0; i < asked.size(); ++i) {
    absl::StatusOr<TierValue>& value = values[asked[i]];
    if (statuses[i].ok()) {
      any_read = true;
      const auto owner = std::make_shared<rocksdb::PinnableSlice>(std::move(found[i]));
      value = TierValue{std::as_bytes(std::span(owner->data(), owner->size())), owner};
    } else if (statuses[i].IsTimedOut() || statuses[i].IsIncomplete()) {
      return absl::UnavailableError(absl::StrCat(
          "nvme tier: ", options_.folder, " did not answer in time: ", statuses[i].ToString()));
    } else if (!statuses[i].IsNotFound()) {
      failure = statuses[i];
      value = absl::DataLossError(
          absl::StrCat("nvme tier: cannot read a block: ", statuses[i].ToString()));
      damaged.push_back(keys[asked[i]]);
    }
  }
  if (failure.IsIOError() && !any_read) {  // not the block's fault
    return absl::UnavailableError(
        absl::StrCat("nvme tier: cannot read ", options_.folder, ": ", failure.ToString()));
  }
  if (!damaged.empty()) {
    SKV_LOG_EVERY_SECONDS(WARNING, 10)
        << "nvme tier: " << damaged.size() << " damaged blocks are dropped: " << failure.ToString();
    // A failure is met again by the next Put.
    (void)Forget(damaged);
  }
  return values;
}

absl::Status RocksDbTier::Put(std::span<const TierBlock> blocks, TimePoint deadline) {
  SKV_RETURN_IF_ERROR(Count(CheckCall(blocks.size())));
  return Count(PutAll(blocks, std::min(deadline, RealClock().Now() + kMaxStall)));
}

absl::Status RocksDbTier::PutAll(std::span<const TierBlock> blocks, TimePoint stalled_until) {
  for (const TierBlock& block : blocks) {
    if (block.bytes.size() > kMaxTierBlockBytes) {
      return absl::InvalidArgumentError(absl::StrCat("nvme tier: a block has ", block.bytes.size(),
                                                     " bytes, at most ", kMaxTierBlockBytes));
    }
  }
  SKV_RETURN_IF_ERROR(MakeWritable());
  RocksDbPlan plan;
  for (const TierBlock& block : blocks) {
    const uint64_t hash = NvmeIndex::Hash(block.key);
    // The plan evicts it: it is there only once the plan is done.
    if (plan.Removes(hash)) {
      SKV_RETURN_IF_ERROR(Commit(&plan, stalled_until));
      plan = RocksDbPlan();
    }
    if (index_.Contains(hash) || plan.Places(hash)) continue;
    if (block.bytes.size() > options_.capacity_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat("nvme tier: a block of ", block.bytes.size(),
                                                       " bytes in a capacity of ",
                                                       options_.capacity_bytes));
    }
    if (plan.totals().num_new_bytes + block.bytes.size() > max_plan_bytes_ &&
        plan.totals().num_new > 0) {
      SKV_RETURN_IF_ERROR(Commit(&plan, stalled_until));
      plan = RocksDbPlan();
    }
    SKV_RETURN_IF_ERROR(MakeRoom(block.bytes.size(), &plan));
    plan.Add(block.key, next_sequence_++, ToSlice(block.bytes));
  }
  return Commit(&plan, stalled_until);
}

absl::Status RocksDbTier::MakeRoom(uint64_t bytes, RocksDbPlan* plan) {
  const uint64_t num_bytes = tally_.gauges().num_bytes;
  const auto total = [&] {
    return static_cast<int64_t>(num_bytes + bytes) + plan->totals().bytes_delta;
  };
  while (total() > static_cast<int64_t>(options_.capacity_bytes)) {
    std::optional<DirectoryRow> row;
    const rocksdb::Status status = oldest_.Take(database_->db(), &row);
    if (!status.ok()) return GiveUpWriting(status);
    if (!row) {
      return absl::ResourceExhaustedError("nvme tier: nothing is left to evict");
    }
    const std::optional<NvmeIndex::Place> place = index_.Find(NvmeIndex::Hash(row->key));
    const bool is_read = place && place->sequence == row->sequence && place->is_marked;
    const uint64_t rewritten = plan->totals().num_rewritten_bytes + row->size;
    const uint64_t brought = plan->totals().num_new_bytes + bytes;
    if (is_read && rewritten <= brought && rewritten + brought <= options_.capacity_bytes &&
        WriteAgain(*row, plan)) {
      continue;
    }
    plan->Evict(*row);
  }
  return absl::OkStatus();
}

// False when it cannot be read whole.
bool RocksDbTier::WriteAgain(const DirectoryRow& row, RocksDbPlan* plan) {
  rocksdb::DB& db = database_->db();
  rocksdb::PinnableSlice bytes;
  const rocksdb::Status status = db.Get(rocksdb::ReadOptions(), db.DefaultColumnFamily(),
                                        BlockName(EncodeTierKey(row.key)), &bytes);
  if (!status.ok() || bytes.size() != row.size) return false;
  plan->Move(row, next_sequence_++, bytes);
  return true;
}

absl::Status RocksDbTier::Erase(std::span<const TierKey> keys, TimePoint /*deadline*/) {
  SKV_RETURN_IF_ERROR(Count(CheckCall(keys.size())));
  if (absl::Status status = MakeWritable(); !status.ok()) return Count(status);
  return Count(Forget(keys));
}

// Never waits for a disk that is behind: somebody may wait for what was sought.
absl::Status RocksDbTier::Forget(std::span<const TierKey> keys) {
  RocksDbPlan plan;
  absl::flat_hash_set<uint64_t> seen;
  for (const TierKey& key : keys) {
    const uint64_t hash = NvmeIndex::Hash(key);
    const std::optional<NvmeIndex::Place> place = index_.Find(hash);
    if (!place || !seen.insert(hash).second) continue;
    const std::string name = RowName(place->sequence);
    std::string value;
    const rocksdb::Status status = database_->db().Get(rocksdb::ReadOptions(), name, &value);
    if (!status.ok()) continue;
    const std::optional<DirectoryRow> row = DecodeRow(name, value);
    if (row && row->key == key) plan.Remove(*row);
  }
  // They are not to be evicted any more. Looked up anew, since a write that fails leaves them.
  oldest_.Rewind();
  return Commit(&plan, TimePoint::min());
}

absl::Status RocksDbTier::Commit(RocksDbPlan* plan, TimePoint stalled_until) {
  if (plan->IsEmpty()) return absl::OkStatus();
  if (const rocksdb::Status status = database_->Write(&plan->batch(), stalled_until);
      !status.ok()) {
    oldest_.Rewind();
    if (status.IsIncomplete()) {
      return absl::DeadlineExceededError(
          absl::StrCat("nvme tier: the disk of ", options_.folder, " is behind with its writes"));
    }
    return GiveUpWriting(status);
  }
  oldest_.Commit();
  plan->Apply(&index_);
  tally_.Update([&](TierGauges& gauges) {
    gauges.num_blocks = index_.size();
    gauges.num_bytes += static_cast<uint64_t>(plan->totals().bytes_delta);
    gauges.num_written_blocks += plan->totals().num_new;
    gauges.num_written_bytes += plan->totals().num_new_bytes;
    gauges.num_evicted_blocks += plan->totals().num_evicted;
  });
  return absl::OkStatus();
}

absl::Status RocksDbTier::GiveUpWriting(const rocksdb::Status& why) {
  is_writable_ = false;
  is_damaged_ = why.IsCorruption();
  return absl::ResourceExhaustedError(
      absl::StrCat("nvme tier: ", options_.folder, " takes no more blocks: ", why.ToString()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tier>> OpenRocksDbTier(const NvmeTierOptions& options) {
  if (options.capacity_bytes < kMinNvmeCapacityBytes) {
    return absl::InvalidArgumentError(absl::StrCat("nvme tier: the capacity is ",
                                                   options.capacity_bytes, " bytes, at least ",
                                                   kMinNvmeCapacityBytes, " are needed"));
  }
  auto tier = std::make_unique<RocksDbTier>(options);
  const absl::Status status = tier->Reopen();
  if (absl::IsUnavailable(status)) {
    SKV_LOG(WARNING) << "the nvme tier is off for now: " << status.message();
  } else if (!status.ok()) {
    return status;
  }
  return tier;
}

}  // namespace skv::kvstore
