#include "kvstore/index/lru_order.h"

#include <vector>

#include "common/page_memory.h"
#include "kvstore/index/id_queue.h"

namespace skv::kvstore {
namespace {

class LruOrder : public EvictionOrder {
 public:
  explicit LruOrder(const OrderOptions& options)
      : max_steps_(options.max_steps), queues_(options.num_partitions) {
    nodes_.reserve(options.max_entries);
  }

  void Insert(const OrderedEntry& entry) override {
    if (entry.id >= nodes_.size()) nodes_.resize(entry.id + 1);
    nodes_[entry.id] = {.partition = entry.partition};
    QueueOf(entry.id).PushFront(nodes_, entry.id);
    ++num_entries_;
  }

  // From the tip up, so that each entry lies behind its children.
  void Touch(absl::Span<const EntryIdx> chain) override {
    for (auto id = chain.rbegin(); id != chain.rend(); ++id) {
      if (nodes_[*id].parked) {
        Unpark(*id);
      } else {
        QueueOf(*id).Remove(nodes_, *id);
      }
      QueueOf(*id).PushFront(nodes_, *id);
    }
  }

  // All that is in the queue was used after the parked entry.
  void Unblock(EntryIdx id) override {
    if (!nodes_[id].parked) return;
    Unpark(id);
    QueueOf(id).PushBack(nodes_, id);
  }

  void Erase(EntryIdx id) override {
    if (nodes_[id].parked) {
      Unpark(id);
    } else {
      QueueOf(id).Remove(nodes_, id);
    }
    --num_entries_;
  }

  std::optional<EntryIdx> PopVictim(uint32_t partition,
                                    absl::FunctionRef<bool(EntryIdx)> is_blocked) override {
    Queue& queue = queues_[partition];
    for (int step = 0; step < max_steps_ && !queue.empty(); ++step) {
      const EntryIdx id = queue.back();
      queue.Remove(nodes_, id);
      if (!is_blocked(id)) {
        --num_entries_;
        return id;
      }
      nodes_[id].parked = true;
      ++num_parked_;
    }
    return std::nullopt;
  }

  bool MeetsAny(uint32_t partition) const override { return !queues_[partition].empty(); }

  OrderGauges gauges() const override {
    return {.num_entries = num_entries_, .num_parked = num_parked_};
  }

 private:
  struct Node {
    uint32_t prev = 0;
    uint32_t next = 0;
    uint32_t partition = 0;
    bool parked = false;
  };
  using Queue = IdQueue;

  Queue& QueueOf(EntryIdx id) { return queues_[nodes_[id].partition]; }
  void Unpark(EntryIdx id) {
    nodes_[id].parked = false;
    --num_parked_;
  }

  const int max_steps_;
  std::vector<Node, PageAllocator<Node>> nodes_;
  std::vector<Queue> queues_;  // the most recently used in front
  uint64_t num_entries_ = 0;
  uint64_t num_parked_ = 0;
};

}  // namespace

std::unique_ptr<EvictionOrder> CreateLruOrder(const OrderOptions& options) {
  return std::make_unique<LruOrder>(options);
}

}  // namespace skv::kvstore
