#include "router/balancer/prefix_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/log.h"

namespace skv::router {
namespace {

constexpr size_t kKeysPerSet = 16;

size_t CheckedMaxKeys(size_t max_keys) {
  SKV_CHECK(max_keys >= 1 && max_keys <= PrefixTable::kMaxKeys) << max_keys << " keys";
  return max_keys;
}

}  // namespace

// Zeros that nobody has written to take no memory, and neither do entries that nobody has begun.
PrefixTable::PrefixTable(size_t max_keys)
    : max_keys_(CheckedMaxKeys(max_keys)),
      max_sets_(max_keys / kKeysPerSet + 1),
      bucket_mask_(std::bit_ceil(max_keys) - 1),
      buckets_(static_cast<Place*>(std::calloc(bucket_mask_ + 1, sizeof(Place)))),
      entries_(std::make_unique_for_overwrite<Entry[]>(max_keys)) {
  SKV_CHECK(buckets_ != nullptr) << "no memory for " << max_keys << " keys";
  sets_.reserve(max_sets_);
}

uint64_t PrefixTable::TagOf(const PrefixKey& key) {
  uint64_t tag = 0;
  std::memcpy(&tag, key.bytes.data(), sizeof(tag));
  return tag;
}

PrefixTable::Place PrefixTable::FindPlace(uint64_t tag) const {
  Place place = buckets_[tag & bucket_mask_] - 1;  // none: kNowhere
  while (place != kNowhere && entries_[place].tag != tag) place = entries_[place].next;
  return place;
}

void PrefixTable::PrefetchBucket(const PrefixKey& key) const {
  __builtin_prefetch(&buckets_[TagOf(key) & bucket_mask_]);
}

void PrefixTable::PrefetchEntry(const PrefixKey& key) const {
  const Place first = buckets_[TagOf(key) & bucket_mask_];
  if (first != 0) __builtin_prefetch(&entries_[first - 1]);
}

void PrefixTable::Add(const PrefixKey& key, int slot) { AddHolder(key, slot, 0); }

void PrefixTable::Promise(const PrefixKey& key, int slot) { AddHolder(key, slot, kIsPromise); }

void PrefixTable::AddHolder(const PrefixKey& key, int slot, uint32_t promise) {
  const uint64_t tag = TagOf(key);
  if (const Place place = FindPlace(tag); place != kNowhere) {
    return AddToEntry(&entries_[place], slot, promise);
  }
  const Place place = TakePlace();
  Place& bucket = buckets_[tag & bucket_mask_];
  entries_[place] = {
      .tag = tag, .next = bucket - 1, .holders = promise | static_cast<uint32_t>(slot)};
  bucket = place + 1;
  ++num_keys_;
}

void PrefixTable::AddToEntry(Entry* entry, int slot, uint32_t promise) {
  entry->holders |= kAddedAgain;
  const uint32_t value = entry->holders & kValue;
  if ((entry->holders & kIsSet) != 0) {
    Holders& holders = sets_[value];
    const bool is_fact = holders.slots[slot] && !holders.promised[slot];
    holders.slots.set(slot);
    holders.promised.set(slot, promise != 0 && !is_fact);
    return;
  }
  const uint32_t promise_before = entry->holders & kIsPromise;
  if (value == static_cast<uint32_t>(slot)) {
    if (promise == 0) entry->holders &= ~kIsPromise;
    return;
  }
  if (free_sets_.empty() && sets_.size() == max_sets_) {
    if (promise != 0 && promise_before == 0) return;
    entry->holders = kAddedAgain | promise | static_cast<uint32_t>(slot);
    return;
  }
  if (free_sets_.empty()) {
    free_sets_.push_back(static_cast<uint32_t>(sets_.size()));
    sets_.emplace_back();
  }
  const uint32_t set = free_sets_.back();
  free_sets_.pop_back();
  sets_[set] = {};
  sets_[set].slots.set(value).set(slot);
  sets_[set].promised.set(value, promise_before != 0).set(slot, promise != 0);
  entry->holders = kAddedAgain | kIsSet | set;
}

bool PrefixTable::IsPromise(const Entry& entry, int slot) const {
  const uint32_t value = entry.holders & kValue;
  if ((entry.holders & kIsSet) != 0) return sets_[value].promised[slot];
  return value == static_cast<uint32_t>(slot) && (entry.holders & kIsPromise) != 0;
}

void PrefixTable::Withdraw(const PrefixKey& key, int slot) {
  const Place place = FindPlace(TagOf(key));
  if (place != kNowhere && IsPromise(entries_[place], slot)) Remove(key, slot);
}

void PrefixTable::Remove(const PrefixKey& key, int slot) {
  const Place place = FindPlace(TagOf(key));
  if (place == kNowhere) return;
  if (!RemoveHolders(&entries_[place], SlotSet().set(slot))) GiveBack(place);
}

bool PrefixTable::RemoveHolders(Entry* entry, const SlotSet& gone) {
  const uint32_t value = entry->holders & kValue;
  if ((entry->holders & kIsSet) == 0) return !gone[value];
  sets_[value].slots &= ~gone;
  sets_[value].promised &= ~gone;
  return Shrink(entry);
}

bool PrefixTable::Shrink(Entry* entry) {
  const uint32_t set = entry->holders & kValue;
  const Holders& left = sets_[set];
  const size_t count = left.slots.count();
  if (count > 1) return true;
  const uint32_t slot = static_cast<uint32_t>(left.slots._Find_first());
  const uint32_t promise = left.promised.any() ? kIsPromise : 0;
  free_sets_.push_back(set);
  // With no slot left the entry is given back, which then has no set to give back.
  entry->holders = (entry->holders & kAddedAgain) | (count == 1 ? promise | slot : 0);
  return count == 1;
}

PrefixTable::Place PrefixTable::TakePlace() {
  if (first_free_ != kNowhere) {
    const Place place = first_free_;
    first_free_ = entries_[place].next;
    return place;
  }
  if (num_places_ < max_keys_) return static_cast<Place>(num_places_++);
  // Full. Ends within two rounds: the first takes the mark from every entry.
  while (true) {
    const Place place = static_cast<Place>(hand_);
    hand_ = (hand_ + 1) % max_keys_;
    Entry& entry = entries_[place];
    if ((entry.holders & kAddedAgain) != 0) {
      entry.holders &= ~kAddedAgain;
      continue;
    }
    if ((entry.holders & kIsSet) != 0) free_sets_.push_back(entry.holders & kValue);
    Unlink(place);
    --num_keys_;
    ++num_evicted_keys_;
    return place;
  }
}

void PrefixTable::Unlink(Place place) {
  Place& bucket = buckets_[entries_[place].tag & bucket_mask_];
  if (bucket - 1 == place) {
    bucket = entries_[place].next + 1;
    return;
  }
  Place before = bucket - 1;
  while (entries_[before].next != place) before = entries_[before].next;
  entries_[before].next = entries_[place].next;
}

void PrefixTable::GiveBack(Place place) {
  Unlink(place);
  entries_[place].holders = kFree;
  entries_[place].next = first_free_;
  first_free_ = place;
  --num_keys_;
}

bool PrefixTable::Sweep(const SlotSet& gone, size_t num_places) {
  const size_t end = std::min(num_places_, sweep_ + num_places);
  for (; sweep_ < end; ++sweep_) {
    Entry& entry = entries_[sweep_];
    if (entry.holders != kFree && !RemoveHolders(&entry, gone)) {
      GiveBack(static_cast<Place>(sweep_));
    }
  }
  if (sweep_ < num_places_) return false;
  sweep_ = 0;
  return true;
}

}  // namespace skv::router
