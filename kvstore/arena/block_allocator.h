#pragma once
// Decides where blocks lie in an arena. Deals in offsets: it never touches the arena, and what it
// knows lies outside of it, so a client that overwrites shared memory cannot mislead it.
//
// Good fit: the arena is a chain of ranges, each live or free, free neighbours are one. Free ranges
// hang in lists by size, 32 to each power of two; a bitmap finds the next list that has any. Both
// operations take constant time. Every block is contiguous and takes its own bytes, rounded up to
// kBlockUnit, no more.
//
// Where an arena is full, it is eviction that decides how much of it holds live blocks. Blocks
// differ in size by a factor of 32 and more: before a large one fits, evicting here and there
// empties a quarter of the arena. So Free tells what surrounds the hole, and whoever evicts can
// widen one hole instead of making more of them. (bench/kvstore, a 4 GiB arena of sentences,
// victims at random: the least live share is 0.76 if holes are never widened, 0.97 if they always
// are, which makes half of all evicted blocks neighbours of victims, and 0.95 with 2 % neighbours
// if they are while less than 0.95 of the arena is live.)
//
// Not thread-safe: one owner.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace skv::kvstore {

inline constexpr uint64_t kBlockUnit = 64;

// Where a block lies. `range` names it to the allocator, until it is freed.
struct Placement {
  uint64_t offset;  // in the arena, a multiple of kBlockUnit
  uint32_t range;
  bool operator==(const Placement&) const = default;
};

// A live block beside a hole.
struct Neighbour {
  uint32_t owner;  // as given to Allocate
  uint64_t num_bytes;
};

// The free range that a freed block is now part of; nullopt at the ends of the arena.
struct Hole {
  uint64_t num_bytes;
  std::optional<Neighbour> before;
  std::optional<Neighbour> after;
};

class BlockAllocator {
 public:
  // Manages [0, arena_bytes), less what is left over of the last unit.
  explicit BlockAllocator(uint64_t arena_bytes);

  // Room for `num_bytes` (> 0). `owner` is what neighbours are told by. nullopt when no free range
  // is large enough; also when only ranges in the block's own list of sizes are, behind the first
  // 16 there.
  std::optional<Placement> Allocate(uint64_t num_bytes, uint32_t owner);
  // REQUIRES: `placement` came from Allocate and was not freed.
  Hole Free(const Placement& placement);

  uint64_t arena_bytes() const { return arena_bytes_; }
  uint64_t live_bytes() const { return live_bytes_; }
  // What no block can be given at this moment: live blocks, and free ranges smaller than the
  // smallest block ever placed. Nothing else is withheld, since any block may lie in any range. So
  // live / committed says what fragments waste for good. What it cannot say is whether the next
  // block fits: that is live / arena at the moment that Allocate refuses, and the measure of how
  // well a full arena is used. The benchmark reports both.
  uint64_t committed_bytes() const { return live_bytes_ + scrap_bytes_; }
  size_t num_blocks() const { return num_blocks_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr int kSubBits = 5;
  static constexpr int kNumLists = (64 - kSubBits) << kSubBits;
  static constexpr int kMaxTried = 16;

  struct Range {
    uint64_t offset = 0;
    uint64_t num_bytes = 0;
    uint32_t before = kNone;  // in the arena
    uint32_t after = kNone;
    uint32_t previous_free = kNone;  // in its list
    uint32_t next_free = kNone;
    uint32_t owner = 0;
    enum class State : uint8_t { kUnused, kFree, kLive } state = State::kUnused;
  };

  static int ListOf(uint64_t num_bytes);
  uint32_t FindFree(uint64_t num_bytes) const;
  int NextFilledList(int list) const;
  void AddFree(uint32_t idx);
  void RemoveFree(uint32_t idx);
  void RecordSize(uint64_t num_bytes);
  void SplitOff(uint32_t idx, uint64_t num_bytes);
  void Absorb(uint32_t idx, uint32_t after);
  uint32_t NewRange();
  std::optional<Neighbour> NeighbourAt(uint32_t idx) const;

  const uint64_t arena_bytes_;
  uint64_t live_bytes_ = 0;
  uint64_t scrap_bytes_ = 0;     // in free ranges below smallest_bytes_
  uint64_t smallest_bytes_ = 0;  // of the blocks placed so far; 0: none yet
  size_t num_blocks_ = 0;
  std::vector<Range> ranges_;
  std::vector<uint32_t> unused_;  // of ranges_
  std::array<uint32_t, kNumLists> first_;
  std::array<uint64_t, kNumLists / 64> filled_ = {};  // a bit for each list that has a range
};

}  // namespace skv::kvstore
