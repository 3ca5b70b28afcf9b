#include "kvstore/index/ghost_list.h"

namespace skv::kvstore {

GhostList::GhostList(uint32_t max_ghosts)
    : max_ghosts_(max_ghosts), ring_(max_ghosts), index_(max_ghosts) {}

void GhostList::Add(uint64_t key_hash, int64_t bytes, int64_t stamp, int64_t max_bytes) {
  if (max_ghosts_ == 0) return;
  Take(key_hash);
  if (length_ == max_ghosts_) DropOldest();
  const uint32_t place = static_cast<uint32_t>((uint64_t{oldest_} + length_) % max_ghosts_);
  ring_[place] = {key_hash, bytes, stamp, true};
  index_.Insert(key_hash, place);
  ++length_;
  ++size_;
  bytes_ += bytes;
  while (bytes_ > max_bytes) DropOldest();
}

std::optional<int64_t> GhostList::Take(uint64_t key_hash) {
  const uint32_t place = index_.Find(
      key_hash, [&](uint32_t candidate) { return ring_[candidate].key_hash == key_hash; });
  if (place == HashIndex::kNone) return std::nullopt;
  Forget(place);
  return ring_[place].stamp;
}

void GhostList::Forget(uint32_t place) {
  index_.Erase(ring_[place].key_hash, place);
  ring_[place].live = false;
  --size_;
  bytes_ -= ring_[place].bytes;
}

void GhostList::DropOldest() {
  if (ring_[oldest_].live) Forget(oldest_);
  oldest_ = (oldest_ + 1) % max_ghosts_;
  --length_;
}

}  // namespace skv::kvstore
