#include "bench/kvstore/allocator_churn.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <deque>
#include <optional>
#include <random>
#include <utility>

#include "common/log.h"
#include "kvstore/arena/block_allocator.h"
#include "kvstore/block/block_header.h"

namespace skv::bench {
namespace {

using kvstore::BlockAllocator;
using kvstore::Hole;
using kvstore::Placement;

double CpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

int DrawTokens(const std::vector<int>& sentence_tokens, std::mt19937_64* random) {
  if (!sentence_tokens.empty()) return sentence_tokens[(*random)() % sentence_tokens.size()];
  std::lognormal_distribution<double> tokens(std::log(17.0), 0.6);
  return std::clamp(static_cast<int>(tokens(*random)), 4, kvstore::kMaxBlockTokens);
}

// Repeats the calls of the simulation on an allocator of its own, many at a time, and takes the
// time. Equal calls place blocks alike, so both do the same work.
class TimedTwin {
 public:
  explicit TimedTwin(uint64_t arena_bytes) : allocator_(arena_bytes) {}

  void Allocate(uint64_t num_bytes, uint32_t owner) { Add({num_bytes, owner}); }
  void Free(uint32_t owner) { Add({0, owner}); }
  double NsPerCall() {
    Replay();
    return 1e9 * seconds_ / static_cast<double>(std::max<int64_t>(num_calls_, 1));
  }

 private:
  struct Call {
    uint64_t num_bytes;  // 0: free
    uint32_t owner;
  };

  void Add(Call call) {
    calls_.push_back(call);
    if (call.owner >= placements_.size()) placements_.resize(call.owner + 1);
    if (calls_.size() == 1 << 14) Replay();
  }
  void Replay() {
    const double begin = CpuSeconds();
    for (const Call& call : calls_) {
      if (call.num_bytes == 0) {
        allocator_.Free(placements_[call.owner]);
      } else if (const auto placement = allocator_.Allocate(call.num_bytes, call.owner)) {
        placements_[call.owner] = *placement;
      }
    }
    seconds_ += CpuSeconds() - begin;
    num_calls_ += static_cast<int64_t>(calls_.size());
    calls_.clear();
  }

  BlockAllocator allocator_;
  std::vector<Placement> placements_;  // by owner
  std::vector<Call> calls_;
  double seconds_ = 0;
  int64_t num_calls_ = 0;
};

class Churn {
 public:
  explicit Churn(const ChurnOptions& options)
      : options_(options),
        random_(options.seed),
        allocator_(options.arena_bytes),
        twin_(options.arena_bytes) {}

  ChurnResult Run() {
    while (num_operations_ < options_.num_operations) Place(DrawBytes());
    result_.mean_block_bytes = allocated_bytes_ / static_cast<double>(result_.num_allocated);
    result_.mean_live_blocks = live_blocks_.mean();
    result_.ns_per_operation = twin_.NsPerCall();
    return result_;
  }

 private:
  struct Block {
    Placement placement;
    size_t live_idx;      // in live_
    uint64_t generation;  // tells the blocks that had this owner's number apart
  };

  uint64_t DrawBytes() {
    const size_t num_layouts = options_.token_bytes.size();
    const size_t phase = num_operations_ * num_layouts / options_.num_operations;
    const size_t layout = options_.one_layout_at_a_time ? phase : random_() % num_layouts;
    const int tokens = DrawTokens(options_.sentence_tokens, &random_);
    return kvstore::HeaderBytes(tokens) + tokens * options_.token_bytes[layout];
  }

  void Place(uint64_t num_bytes) {
    if (unused_owners_.empty()) {
      unused_owners_.push_back(static_cast<uint32_t>(blocks_.size()));
      blocks_.emplace_back();
    }
    const uint32_t owner = unused_owners_.back();
    unused_owners_.pop_back();
    auto placement = Try(num_bytes, owner);
    if (!placement) {
      is_full_ = true;
      result_.live_of_arena_when_full.Add(LiveOfArena());
    }
    while (!placement) {
      const auto victim = ChooseVictim();
      if (!victim) {
        unused_owners_.push_back(owner);
        ++result_.num_refused;
        return;
      }
      const Hole hole = Evict(*victim);
      ++result_.num_evicted_as_victims;
      if (LiveOfArena() < options_.widen_below) Widen(hole, num_bytes);
      placement = Try(num_bytes, owner);
    }
    Block& block = blocks_[owner];
    block.placement = *placement;
    block.live_idx = live_.size();
    live_.push_back(owner);
    arrivals_.emplace_back(owner, block.generation);
    allocated_bytes_ += static_cast<double>(num_bytes);
    ++result_.num_allocated;
  }

  std::optional<Placement> Try(uint64_t num_bytes, uint32_t owner) {
    const auto placement = allocator_.Allocate(num_bytes, owner);
    twin_.Allocate(num_bytes, owner);
    Sample();
    return placement;
  }

  Hole Evict(uint32_t owner) {
    Block& block = blocks_[owner];
    const Hole hole = allocator_.Free(block.placement);
    twin_.Free(owner);
    Sample();
    ++block.generation;
    blocks_[live_.back()].live_idx = block.live_idx;
    live_[block.live_idx] = live_.back();
    live_.pop_back();
    unused_owners_.push_back(owner);
    ++result_.num_evicted;
    return hole;
  }

  void Widen(Hole hole, uint64_t num_bytes) {
    while (hole.num_bytes < num_bytes) {
      const bool can_before = hole.before && !IsLeased(hole.before->owner);
      const bool can_after = hole.after && !IsLeased(hole.after->owner);
      if (!can_before && !can_after) return;
      const bool take_before =
          can_before && (!can_after || hole.before->num_bytes < hole.after->num_bytes);
      hole = Evict((take_before ? hole.before : hole.after)->owner);
    }
  }

  // nullopt where, as far as is to be seen, all are leased.
  std::optional<uint32_t> ChooseVictim() {
    if (options_.eviction == "random") {
      for (size_t tries = 0; tries < 2 * live_.size(); ++tries) {
        const uint32_t owner = live_[random_() % live_.size()];
        if (!IsLeased(owner)) return owner;
      }
      return std::nullopt;
    }
    for (size_t tries = 2 * arrivals_.size(); tries > 0 && !arrivals_.empty(); --tries) {
      const auto [owner, generation] = arrivals_.front();
      arrivals_.pop_front();
      if (blocks_[owner].generation != generation) continue;
      const bool stays = options_.eviction == "second-chance" && random_() % 10 < 3;
      if (!stays && !IsLeased(owner)) return owner;
      arrivals_.emplace_back(owner, generation);
    }
    return std::nullopt;
  }

  bool IsLeased(uint32_t owner) const {
    if (options_.leased_share == 0) return false;
    std::mt19937_64 random((num_operations_ >> 16) * 0x9e3779b97f4a7c15 + owner);
    return static_cast<double>(random() >> 11) < options_.leased_share * 0x1p53;
  }

  double LiveOfArena() const {
    return static_cast<double>(allocator_.live_bytes()) /
           static_cast<double>(allocator_.arena_bytes());
  }
  void Sample() {
    ++num_operations_;
    if (!is_full_) return;
    result_.live_of_arena.Add(LiveOfArena());
    result_.live_of_committed.Add(static_cast<double>(allocator_.live_bytes()) /
                                  static_cast<double>(allocator_.committed_bytes()));
    live_blocks_.Add(static_cast<double>(allocator_.num_blocks()));
  }

  const ChurnOptions options_;
  std::mt19937_64 random_;
  BlockAllocator allocator_;
  TimedTwin twin_;
  std::vector<Block> blocks_;  // by owner
  std::vector<uint32_t> live_, unused_owners_;
  std::deque<std::pair<uint32_t, uint64_t>> arrivals_;  // (owner, generation), some of them gone
  bool is_full_ = false;
  int64_t num_operations_ = 0;
  double allocated_bytes_ = 0;
  Share live_blocks_;
  ChurnResult result_;
};

}  // namespace

void Share::Add(double value) {
  min = std::min(min, value);
  sum += value;
  ++count;
}

ChurnResult RunChurn(const ChurnOptions& options) { return Churn(options).Run(); }

}  // namespace skv::bench
