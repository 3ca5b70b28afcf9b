#include "router/balancer/prefix_index.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/prefix_sample.h"

namespace skv::router {
namespace {

// Sampling is sparser from here on.
constexpr size_t kFine = 4096, kCoarseStride = 64;
// A bucket and its first entry are two cache misses, each begun so many keys before it is needed.
constexpr size_t kBucketAhead = 24, kEntryAhead = 12;
// One MiB of entries.
constexpr size_t kSweptPlaces = size_t{1} << 16;

bool IsSampled(size_t key_idx) {
  return IsSampledPrefix(key_idx, key_idx < kFine ? kPrefixStride : kCoarseStride);
}

// The sample before a key that is none.
size_t SampleBefore(size_t key_idx) {
  const size_t stride = key_idx < kFine ? kPrefixStride : kCoarseStride;
  return key_idx / stride * stride;
}

// The next lower index that CachedTokens asks for; `key_idx` is above 0.
size_t Before(size_t key_idx) {
  if (key_idx <= kFine) return key_idx - 1;
  return (key_idx - 1) / kCoarseStride * kCoarseStride;
}

// How many keys from the first on end within what the prompt's request can use.
size_t NumUsable(const PrefixChain& prompt) {
  return std::ranges::upper_bound(prompt.ends, prompt.max_cached_tokens) - prompt.ends.begin();
}

// Ascending indices of the keys that stand for a prompt of so many.
std::vector<size_t> SampledKeys(size_t num_keys) {
  std::vector<size_t> sampled;
  for (size_t i = 0; i < num_keys; ++i) {
    if (IsSampled(i) || i + 1 == num_keys) sampled.push_back(i);
  }
  return sampled;
}

}  // namespace

int PrefixIndex::SlotOf(CacheId cache) const {
  const auto it = slots_.find(cache);
  return it == slots_.end() ? -1 : it->second;
}

int PrefixIndex::TakeSlot() {
  const size_t slot = (~used_)._Find_first();
  if (slot == PrefixTable::kNumSlots) return -1;
  used_.set(slot);
  return static_cast<int>(slot);
}

void PrefixIndex::SetCaches(std::span<const CacheId> caches) {
  MutexLock lock(&mutex_);
  absl::erase_if(slots_, [&](const auto& entry) {
    const bool gone = std::ranges::find(caches, entry.first) == caches.end();
    if (gone) left_.set(entry.second);
    return gone;
  });
  Sweep();
  for (const CacheId cache : caches) {
    if (cache == kNoCache || slots_.contains(cache)) continue;
    if (const int slot = TakeSlot(); slot >= 0) slots_[cache] = slot;
  }
}

void PrefixIndex::Sweep() {
  if (sweeping_.none()) std::swap(sweeping_, left_);
  if (sweeping_.none() || !table_.Sweep(sweeping_, kSweptPlaces)) return;
  used_ &= ~sweeping_;
  sweeping_.reset();
}

void PrefixIndex::Clear(CacheId cache) {
  MutexLock lock(&mutex_);
  const auto it = slots_.find(cache);
  if (it == slots_.end()) return;
  left_.set(it->second);
  const int slot = TakeSlot();
  // Without a slot it waits for the next SetCaches.
  if (slot < 0) {
    slots_.erase(it);
  } else {
    it->second = slot;
  }
}

void PrefixIndex::Add(CacheId cache, std::span<const PrefixKey> keys) {
  MutexLock lock(&mutex_);
  const int slot = SlotOf(cache);
  if (slot < 0) return;
  for (const PrefixKey& key : keys) table_.Add(key, slot);
}

void PrefixIndex::Remove(CacheId cache, std::span<const PrefixKey> keys) {
  MutexLock lock(&mutex_);
  const int slot = SlotOf(cache);
  if (slot < 0) return;
  for (const PrefixKey& key : keys) table_.Remove(key, slot);
}

void PrefixIndex::AddPrompt(CacheId cache, const PrefixChain& prompt) {
  MutexLock lock(&mutex_);
  const int slot = SlotOf(cache);
  if (slot < 0) return;
  for (const size_t i : SampledKeys(prompt.keys.size())) table_.Add(prompt.keys[i], slot);
}

void PrefixIndex::PromisePrompt(CacheId cache, const PrefixChain& prompt) {
  MutexLock lock(&mutex_);
  const int slot = SlotOf(cache);
  if (slot < 0) return;
  for (const size_t i : SampledKeys(prompt.keys.size())) table_.Promise(prompt.keys[i], slot);
}

void PrefixIndex::WithdrawPrompt(CacheId cache, const PrefixChain& prompt, int64_t num_tokens) {
  MutexLock lock(&mutex_);
  const int slot = SlotOf(cache);
  if (slot < 0) return;
  for (const size_t i : SampledKeys(prompt.keys.size())) {
    if (prompt.ends[i] > num_tokens) table_.Withdraw(prompt.keys[i], slot);
  }
}

PrefixIndex::SlotSet PrefixIndex::Holders(const PrefixChain& prompt, size_t key_idx,
                                          const SlotSet& wanted) const {
  SlotSet holders;
  table_.Find(prompt.keys[key_idx], wanted, [&](int slot) { holders.set(slot); });
  if (holders.none() || IsSampled(key_idx)) return holders;
  SlotSet confirmed;
  table_.Find(prompt.keys[SampleBefore(key_idx)], holders, [&](int slot) { confirmed.set(slot); });
  return confirmed;
}

std::vector<int64_t> PrefixIndex::CachedTokens(const PrefixChain& prompt,
                                               std::span<const CacheId> caches) const {
  std::vector<int64_t> result(caches.size(), 0);
  const size_t num_usable = NumUsable(prompt);
  if (num_usable == 0) return result;
  std::array<int64_t, PrefixTable::kNumSlots> tokens = {};
  std::vector<int> slots;
  slots.reserve(caches.size());
  SlotSet missing;
  MutexLock lock(&mutex_);
  for (const CacheId cache : caches) {
    slots.push_back(SlotOf(cache));
    if (slots.back() >= 0) missing.set(slots.back());
  }
  for (size_t i = num_usable - 1; missing.any(); i = Before(i)) {
    if (i >= kBucketAhead) table_.PrefetchBucket(prompt.keys[i - kBucketAhead]);
    if (i >= kEntryAhead) table_.PrefetchEntry(prompt.keys[i - kEntryAhead]);
    const SlotSet holders = Holders(prompt, i, missing);
    missing &= ~holders;
    for (size_t slot = holders._Find_first(); slot < PrefixTable::kNumSlots;
         slot = holders._Find_next(slot)) {
      tokens[slot] = prompt.ends[i];
    }
    if (i == 0) break;
  }
  for (size_t i = 0; i < caches.size(); ++i) {
    if (slots[i] >= 0) result[i] = tokens[slots[i]];
  }
  return result;
}

PrefixIndex::Stats PrefixIndex::stats() const {
  MutexLock lock(&mutex_);
  return {table_.num_keys(), table_.max_keys(), table_.num_evicted_keys()};
}

}  // namespace skv::router
