#include "kvstore/index/s3fifo_order.h"

#include <algorithm>
#include <vector>

#include "common/page_memory.h"
#include "kvstore/index/ghost_list.h"
#include "kvstore/index/id_queue.h"

namespace skv::kvstore {
namespace {

constexpr uint8_t kMaxUses = 3;

class S3FifoOrder : public EvictionOrder {
 public:
  S3FifoOrder(const OrderOptions& options, const S3FifoOptions& s3fifo)
      : max_steps_(options.max_steps),
        s3fifo_(s3fifo),
        partitions_(options.num_partitions, Partition{.small_fraction = s3fifo.small_fraction}),
        small_ghosts_(s3fifo.max_ghosts > 0 ? s3fifo.max_ghosts : options.max_entries),
        main_ghosts_(s3fifo.gain > 0 ? small_ghosts_.max_ghosts() : 0) {
    nodes_.reserve(options.max_entries);
  }

  void Insert(const OrderedEntry& entry) override;
  void Touch(absl::Span<const EntryIdx> chain) override;
  void Unblock(EntryIdx id) override;
  void Erase(EntryIdx id) override;
  std::optional<EntryIdx> PopVictim(uint32_t partition,
                                    absl::FunctionRef<bool(EntryIdx)> is_blocked) override;
  bool MeetsAny(uint32_t partition) const override {
    return !partitions_[partition].small.ids.empty() || !partitions_[partition].main.ids.empty();
  }
  OrderGauges gauges() const override {
    return {.num_entries = num_entries_,
            .num_parked = num_parked_,
            .num_ghosts = uint64_t{small_ghosts_.size()} + main_ghosts_.size(),
            .max_ghosts = uint64_t{small_ghosts_.max_ghosts()} + main_ghosts_.max_ghosts()};
  }

 private:
  struct Node {
    uint32_t prev = 0;
    uint32_t next = 0;
    uint64_t key_hash = 0;
    int64_t bytes = 0;
    uint32_t partition = 0;
    uint8_t uses = 0;
    bool in_main = false;
    bool parked = false;
  };
  // A parked entry is off its queue but counts in its bytes.
  struct Queue {
    IdQueue ids;  // the latest in front
    int64_t bytes = 0;
    int64_t evicted_bytes = 0;  // since the start: the stamp of its ghosts
  };
  struct Partition {
    Queue small, main;
    double small_fraction = 0;
    double bytes() const { return static_cast<double>(small.bytes + main.bytes); }
  };

  Queue& QueueOf(const Node& node) {
    Partition& partition = partitions_[node.partition];
    return node.in_main ? partition.main : partition.small;
  }
  bool Returns(const OrderedEntry& entry);
  bool TakesFromSmall(const Partition& partition) const;
  bool IsPromoted(const Node& node) const {
    return !node.in_main && node.uses >= s3fifo_.promote_uses;
  }
  void Promote(EntryIdx id);
  void Remember(const Node& node);
  void Leave(EntryIdx id);

  const int max_steps_;
  const S3FifoOptions s3fifo_;
  std::vector<Node, PageAllocator<Node>> nodes_;
  std::vector<Partition> partitions_;
  GhostList small_ghosts_, main_ghosts_;  // of all partitions
  int64_t bytes_ = 0;
  uint64_t num_entries_ = 0;
  uint64_t num_parked_ = 0;
};

void S3FifoOrder::Insert(const OrderedEntry& entry) {
  if (entry.id >= nodes_.size()) nodes_.resize(entry.id + 1);
  Node& node = nodes_[entry.id];
  node = {.key_hash = entry.key_hash, .bytes = entry.bytes, .partition = entry.partition};
  node.in_main = Returns(entry);
  Queue& queue = QueueOf(node);
  queue.ids.PushFront(nodes_, entry.id);
  queue.bytes += node.bytes;
  bytes_ += node.bytes;
  ++num_entries_;
}

// Whether the key is remembered; the queue that just missed it gets more room.
bool S3FifoOrder::Returns(const OrderedEntry& entry) {
  Partition& partition = partitions_[entry.partition];
  const double bytes = std::max(partition.bytes(), 1.0);
  const auto is_recent = [&](const Queue& queue, int64_t stamp) {
    return static_cast<double>(queue.evicted_bytes - stamp) <= s3fifo_.window_fraction * bytes;
  };
  const double step = s3fifo_.gain * static_cast<double>(entry.bytes) / bytes;
  double& fraction = partition.small_fraction;
  if (const std::optional<int64_t> stamp = small_ghosts_.Take(entry.key_hash)) {
    if (is_recent(partition.small, *stamp)) {
      fraction = std::min(fraction + step, std::max(fraction, s3fifo_.max_small_fraction));
    }
    return true;
  }
  if (const std::optional<int64_t> stamp = main_ghosts_.Take(entry.key_hash)) {
    if (is_recent(partition.main, *stamp)) {
      fraction = std::max(fraction - step, s3fifo_.small_fraction);
    }
    return true;
  }
  return false;
}

void S3FifoOrder::Touch(absl::Span<const EntryIdx> chain) {
  constexpr size_t kAhead = 8;
  for (size_t i = 0; i < chain.size(); ++i) {
    if (i + kAhead < chain.size()) __builtin_prefetch(&nodes_[chain[i + kAhead]], 1);
    Node& node = nodes_[chain[i]];
    if (node.uses == kMaxUses) continue;
    ++node.uses;
    if (node.parked && IsPromoted(node)) Promote(chain[i]);
  }
}

void S3FifoOrder::Unblock(EntryIdx id) {
  Node& node = nodes_[id];
  if (!node.parked) return;
  node.parked = false;
  --num_parked_;
  QueueOf(node).ids.PushBack(nodes_, id);
}

void S3FifoOrder::Erase(EntryIdx id) {
  Node& node = nodes_[id];
  if (node.parked) {
    node.parked = false;
    --num_parked_;
  } else {
    QueueOf(node).ids.Remove(nodes_, id);
  }
  Leave(id);
}

std::optional<EntryIdx> S3FifoOrder::PopVictim(uint32_t partition_idx,
                                               absl::FunctionRef<bool(EntryIdx)> is_blocked) {
  Partition& partition = partitions_[partition_idx];
  for (int step = 0; step < max_steps_; ++step) {
    Queue& queue = TakesFromSmall(partition) ? partition.small : partition.main;
    if (queue.ids.empty()) return std::nullopt;
    const EntryIdx id = queue.ids.back();
    Node& node = nodes_[id];
    queue.ids.Remove(nodes_, id);
    if (IsPromoted(node)) {
      Promote(id);
      partition.main.ids.PushFront(nodes_, id);
    } else if (is_blocked(id)) {
      node.parked = true;
      ++num_parked_;
    } else if (node.in_main && node.uses > 0) {
      --node.uses;
      queue.ids.PushFront(nodes_, id);
    } else {
      Remember(node);
      Leave(id);
      return id;
    }
  }
  return std::nullopt;
}

bool S3FifoOrder::TakesFromSmall(const Partition& partition) const {
  if (partition.small.ids.empty()) return false;
  if (partition.main.ids.empty()) return true;
  return static_cast<double>(partition.small.bytes) >= partition.small_fraction * partition.bytes();
}

// From the small queue's bytes to the main one's; its uses start anew.
void S3FifoOrder::Promote(EntryIdx id) {
  Node& node = nodes_[id];
  QueueOf(node).bytes -= node.bytes;
  node.in_main = true;
  node.uses = 0;
  QueueOf(node).bytes += node.bytes;
}

// Before it leaves: the limit is a fraction of what was kept with it.
void S3FifoOrder::Remember(const Node& node) {
  Queue& queue = QueueOf(node);
  queue.evicted_bytes += node.bytes;
  const double fraction = node.in_main ? s3fifo_.window_fraction : s3fifo_.ghost_fraction;
  const auto max_bytes = static_cast<int64_t>(fraction * static_cast<double>(bytes_));
  (node.in_main ? main_ghosts_ : small_ghosts_)
      .Add(node.key_hash, node.bytes, queue.evicted_bytes, max_bytes);
}

void S3FifoOrder::Leave(EntryIdx id) {
  const Node& node = nodes_[id];
  QueueOf(node).bytes -= node.bytes;
  bytes_ -= node.bytes;
  --num_entries_;
}

}  // namespace

std::unique_ptr<EvictionOrder> CreateS3FifoOrder(const OrderOptions& options,
                                                 const S3FifoOptions& s3fifo) {
  return std::make_unique<S3FifoOrder>(options, s3fifo);
}

}  // namespace skv::kvstore
