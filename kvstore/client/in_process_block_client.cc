#include "kvstore/client/in_process_block_client.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/log.h"
#include "common/status.h"
#include "kvstore/client/block_memory.h"
#include "kvstore/client/mapped_memory.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/store/block_store.h"

namespace skv::kvstore {
namespace {

// Tables for blocks that are on average no smaller than this: the keys and values of a sentence
// take tens of KiB and more.
constexpr uint64_t kMeanBlockBytes = 4096;
constexpr uint64_t kMinEntries = 4096;
constexpr uint64_t kMaxEntries = 1 << 20;

BlockStoreOptions StoreOptions(uint64_t capacity_bytes) {
  BlockStoreOptions options;
  options.index.capacity_bytes = static_cast<int64_t>(capacity_bytes / kBlockUnit * kBlockUnit);
  options.index.max_entries = options.index.max_shards =
      static_cast<uint32_t>(std::clamp(capacity_bytes / kMeanBlockBytes, kMinEntries, kMaxEntries));
  options.index.max_tenants = 1;
  options.index.leases.max_sessions = 1;
  options.index.leases.max_leases_per_session = options.index.leases.max_leases;
  return options;
}

uint64_t NumberOf(LeaseId lease) { return std::bit_cast<uint64_t>(lease); }
LeaseId LeaseOf(uint64_t number) { return std::bit_cast<LeaseId>(number); }

// What handles keep alive.
class LocalStore : public LeaseOwner {
 public:
  LocalStore(MappedMemory memory, const InProcessClientOptions& options)
      : memory_(std::move(memory)),
        blocks_(memory_.bytes(), {.layout = options.layout}),
        layout_(options.layout),
        store_(StoreOptions(options.capacity_bytes),
               CreateS3FifoOrder(StoreOptions(options.capacity_bytes).index.order()),
               memory_.bytes()),
        session_(*store_.OpenSession()) {}

  absl::StatusOr<LeasedChain> Get(std::span<const PrefixKey> keys);
  absl::StatusOr<Creation> Create(NewSentence sentence);
  absl::StatusOr<SealedBlock> Seal(WritableBlock block, bool is_tip);
  void Wait(const PrefixKey& key);
  Notices TakeNotices() { return std::exchange(notices_, {}); }
  void EndLease(uint64_t lease) override;
  BlockClientGauges gauges() const;
  // Counts it when it is an error.
  template <typename Result>
  Result Counted(Result result) {
    if (!result.ok()) ++num_failures_;
    return result;
  }

 private:
  EntryKey KeyOf(const PrefixKey& key) const { return {key, layout_}; }
  HeldLease Hold(LeaseId lease);
  bool Has(const PrefixKey& key);
  void TakeNews();

  const MappedMemory memory_;
  BlockMemory blocks_;
  const LayoutId layout_;
  BlockStore store_;
  const SessionId session_;
  absl::flat_hash_set<PrefixKey> writing_;
  absl::flat_hash_set<PrefixKey> awaited_;
  Notices notices_;
  uint64_t num_requests_ = 0;
  uint64_t num_failures_ = 0;
};

HeldLease LocalStore::Hold(LeaseId lease) {
  SKV_CHECK(blocks_.BeginLease(NumberOf(lease)).ok());
  return HeldLease(shared_from_this(), NumberOf(lease));
}

void LocalStore::EndLease(uint64_t lease) {
  blocks_.EndLease(lease);
  // A block that the store refused to seal has no lease any more.
  store_.Release(session_, {LeaseOf(lease)}).IgnoreError();
  TakeNews();
}

void LocalStore::TakeNews() {
  const StoreNews news = store_.TakeNews();
  for (const EntryKey& key : news.sealed) {
    writing_.erase(key.prefix);
    if (awaited_.erase(key.prefix) > 0) notices_.sealed.push_back(key.prefix);
  }
  for (const EntryKey& key : news.abandoned) {
    writing_.erase(key.prefix);
    if (awaited_.erase(key.prefix) > 0) notices_.abandoned.push_back(key.prefix);
  }
}

absl::StatusOr<LeasedChain> LocalStore::Get(std::span<const PrefixKey> keys) {
  ++num_requests_;
  std::vector<EntryKey> entries;
  entries.reserve(keys.size());
  for (const PrefixKey& key : keys) entries.push_back(KeyOf(key));
  std::vector<ShardBytes> shards;
  SKV_ASSIGN_OR_RETURN(const Hit hit, store_.Get(session_, /*rank=*/0, entries, &shards));
  if (shards.empty()) return LeasedChain();
  HeldLease lease = Hold(hit.lease);
  std::vector<ArenaRange> ranges;
  ranges.reserve(shards.size());
  for (const ShardBytes& shard : shards) {
    ranges.push_back({static_cast<uint64_t>(shard.offset), static_cast<uint64_t>(shard.bytes)});
  }
  SKV_ASSIGN_OR_RETURN(std::vector<LeasedBlock> blocks, blocks_.AddFound(lease.id(), ranges, keys));
  if (blocks.size() < shards.size()) {
    SKV_RETURN_IF_ERROR(store_.Invalidate(entries[blocks.size()]));
    TakeNews();
  }
  if (blocks.empty()) return LeasedChain();
  return LeasedChain(std::move(lease), std::move(blocks));
}

absl::StatusOr<Creation> LocalStore::Create(NewSentence sentence) {
  ++num_requests_;
  SKV_RETURN_IF_ERROR(CheckSentence(sentence));
  const NewBlock block = {.key = KeyOf(sentence.key),
                          .parent = sentence.parent,
                          .is_first = sentence.is_first,
                          .num_tokens = static_cast<int>(sentence.tokens.size()),
                          .payload_bytes = sentence.payload_bytes};
  const auto created = std::move(store_.Create(session_, {block}, RealClock().Now())[0]);
  TakeNews();
  SKV_RETURN_IF_ERROR(created.status());
  Creation creation;
  if (created->outcome == Created::Outcome::kInProgress) return creation;
  if (created->outcome == Created::Outcome::kExists) {
    creation.outcome = Creation::Outcome::kExists;
    return creation;
  }
  HeldLease lease = Hold(created->lease);
  writing_.insert(sentence.key);
  SKV_ASSIGN_OR_RETURN(const std::span<std::byte> place,
                       blocks_.PlaceFor(sentence, {created->offset, created->num_bytes}));
  creation.outcome = Creation::Outcome::kCreated;
  creation.block = WritableBlock(std::move(lease), std::move(sentence), place);
  return creation;
}

absl::StatusOr<SealedBlock> LocalStore::Seal(WritableBlock block, bool is_tip) {
  ++num_requests_;
  if (block.lease().owner() != this) return PrivateBlock(std::move(block));
  SKV_RETURN_IF_ERROR(blocks_.WriteHeader(block));
  const auto is_visible = store_.Seal(session_, {LeaseOf(block.lease().id())}, is_tip)[0];
  TakeNews();
  if (absl::IsAborted(is_visible.status())) return PrivateBlock(std::move(block));
  SKV_RETURN_IF_ERROR(is_visible.status());
  const LeasedBlock leased = blocks_.AddWritten(block);
  return SealedBlock{LeasedChain(block.TakeLease(), {leased}), SealedBlock::Visibility::kVisible};
}

bool LocalStore::Has(const PrefixKey& key) {
  std::vector<ShardBytes> shards;
  const absl::StatusOr<Hit> hit = store_.Get(session_, /*rank=*/0, {KeyOf(key)}, &shards);
  if (!hit.ok() || shards.empty()) return false;
  SKV_CHECK(store_.Release(session_, {hit->lease}).ok());
  return true;
}

void LocalStore::Wait(const PrefixKey& key) {
  ++num_requests_;
  if (writing_.contains(key)) {
    awaited_.insert(key);
  } else if (Has(key)) {
    notices_.sealed.push_back(key);
  } else {
    notices_.abandoned.push_back(key);
  }
}

BlockClientGauges LocalStore::gauges() const {
  return {.num_leases = blocks_.num_leases(),
          .mapped_bytes = blocks_.num_bytes(),
          .own_bytes = store_.gauges().live_bytes,
          .num_requests = num_requests_,
          .num_failures = num_failures_,
          .num_corrupt_blocks = blocks_.num_corrupt_blocks(),
          .num_verified_bytes = blocks_.num_verified_bytes()};
}

class InProcessBlockClient : public BlockClient {
 public:
  explicit InProcessBlockClient(std::shared_ptr<LocalStore> store) : store_(std::move(store)) {}

  absl::StatusOr<LeasedChain> Get(std::span<const PrefixKey> keys, TimePoint) override {
    SKV_RETURN_IF_ERROR(CheckNumKeys(keys.size()));
    if (keys.empty()) return LeasedChain();
    return store_->Counted(store_->Get(keys));
  }

  std::vector<absl::StatusOr<Creation>> Create(std::vector<NewSentence> sentences,
                                               TimePoint) override {
    std::vector<absl::StatusOr<Creation>> creations;
    creations.reserve(sentences.size());
    for (NewSentence& sentence : sentences) {
      creations.push_back(store_->Counted(store_->Create(std::move(sentence))));
    }
    return creations;
  }

  std::vector<absl::StatusOr<SealedBlock>> Seal(std::vector<WritableBlock> blocks, bool is_tip,
                                                TimePoint) override {
    std::vector<absl::StatusOr<SealedBlock>> sealed;
    sealed.reserve(blocks.size());
    for (size_t i = 0; i < blocks.size(); ++i) {
      const bool is_last = i + 1 == blocks.size();
      sealed.push_back(store_->Counted(store_->Seal(std::move(blocks[i]), is_tip && is_last)));
    }
    return sealed;
  }

  absl::Status Wait(std::span<const PrefixKey> keys, TimePoint) override {
    SKV_RETURN_IF_ERROR(CheckNumKeys(keys.size()));
    for (const PrefixKey& key : keys) store_->Wait(key);
    return absl::OkStatus();
  }

  Notices TakeNotices() override { return store_->TakeNotices(); }
  absl::Status Flush(TimePoint) override { return absl::OkStatus(); }
  absl::Status status() const override { return absl::OkStatus(); }
  BlockClientGauges gauges() const override { return store_->gauges(); }

 private:
  const std::shared_ptr<LocalStore> store_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BlockClient>> CreateInProcessBlockClient(
    const InProcessClientOptions& options) {
  SKV_RETURN_IF_ERROR(
      Annotate(StoreOptions(options.capacity_bytes).index.Validate(), "in-process block store"));
  SKV_ASSIGN_OR_RETURN(MappedMemory memory, MappedMemory::Anonymous(options.capacity_bytes));
  return std::make_unique<InProcessBlockClient>(
      std::make_shared<LocalStore>(std::move(memory), options));
}

}  // namespace skv::kvstore
