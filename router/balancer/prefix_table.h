#pragma once
// Which slots hold which prefixes: a hash table from keys to sets of small numbers, in memory that
// is bounded from the start. That a slot holds a key is a fact, or a promise, which can be
// withdrawn until the fact is known: it makes no other difference.
//
// Keys are told apart by 64 of their 128 bits: two that agree in these cost a wrong guess, never a
// wrong token. Where the table is full, a new key takes the place of the oldest one that was not
// added again since the hand of the clock last passed it. Not thread-safe.

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "common/block_key.h"

namespace skv::router {

class PrefixTable {
 public:
  static constexpr int kNumSlots = 512;
  using SlotSet = std::bitset<kNumSlots>;

  // 32 bytes of address space a key at most; what is not used is not committed.
  // REQUIRES: 1 <= max_keys <= kMaxKeys
  explicit PrefixTable(size_t max_keys);
  static constexpr size_t kMaxKeys = size_t{1} << 28;

  // `slot` holds the key: a fact, whatever was promised.
  void Add(const PrefixKey& key, int slot);
  // It will hold it. A fact stays one.
  void Promise(const PrefixKey& key, int slot);
  // Takes a promise back. Nothing where it is none any more, or nothing is there.
  void Withdraw(const PrefixKey& key, int slot);
  // Takes out whatever it is. Nothing where nothing is there.
  void Remove(const PrefixKey& key, int slot);

  // Calls `visit(slot)` for each slot of `wanted` that holds the key or will, ascending.
  template <typename Visit>
  void Find(const PrefixKey& key, const SlotSet& wanted, Visit visit) const;
  // Begin to bring near what Find(key) reads: the bucket and, some time later, its first entry.
  void PrefetchBucket(const PrefixKey& key) const;
  void PrefetchEntry(const PrefixKey& key) const;

  // Takes the slots `gone` out of the next `num_places` places, counted over all calls. True: the
  // last place was among them, so that the next call begins at the first.
  bool Sweep(const SlotSet& gone, size_t num_places);

  size_t max_keys() const { return max_keys_; }
  size_t num_keys() const { return num_keys_; }
  uint64_t num_evicted_keys() const { return num_evicted_keys_; }

 private:
  using Place = uint32_t;
  static constexpr Place kNowhere = UINT32_MAX;
  // Values of Entry::holders: kFree, or flags and, below them, a slot or the index of a set.
  static constexpr uint32_t kFree = UINT32_MAX;
  static constexpr uint32_t kAddedAgain = uint32_t{1} << 31;
  static constexpr uint32_t kIsSet = uint32_t{1} << 30;
  static constexpr uint32_t kIsPromise = uint32_t{1} << 29;  // of a slot; a set knows it of each
  static constexpr uint32_t kValue = kIsPromise - 1;

  struct Entry {
    uint64_t tag;
    Place next;  // of the same bucket, or free
    uint32_t holders;
  };
  struct Holders {
    SlotSet slots;
    SlotSet promised;  // among them
  };
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  static uint64_t TagOf(const PrefixKey& key);
  Place FindPlace(uint64_t tag) const;
  Place TakePlace();
  void Unlink(Place place);
  void GiveBack(Place place);
  // `promise`: kIsPromise or 0.
  void AddHolder(const PrefixKey& key, int slot, uint32_t promise);
  void AddToEntry(Entry* entry, int slot, uint32_t promise);
  // The set that holds is left with one slot, or none: it needs no set any more. False: none.
  bool Shrink(Entry* entry);
  bool RemoveHolders(Entry* entry, const SlotSet& gone);
  bool IsPromise(const Entry& entry, int slot) const;

  const size_t max_keys_;
  const size_t max_sets_;
  const uint64_t bucket_mask_;
  const std::unique_ptr<Place[], Free> buckets_;  // place + 1 of the first entry, 0: none
  const std::unique_ptr<Entry[]> entries_;
  size_t num_places_ = 0;  // that were ever taken
  Place first_free_ = kNowhere;
  size_t num_keys_ = 0;
  size_t hand_ = 0;
  size_t sweep_ = 0;
  uint64_t num_evicted_keys_ = 0;

  // Of keys that several slots hold. At most one for each 16 keys: where there is none left, a key
  // is known of its newest slot alone, and a promise does not take the place of a fact.
  std::vector<Holders> sets_;
  std::vector<uint32_t> free_sets_;
};

template <typename Visit>
void PrefixTable::Find(const PrefixKey& key, const SlotSet& wanted, Visit visit) const {
  const Place place = FindPlace(TagOf(key));
  if (place == kNowhere) return;
  const uint32_t holders = entries_[place].holders;
  const uint32_t value = holders & kValue;
  if ((holders & kIsSet) == 0) {
    if (wanted[value]) visit(static_cast<int>(value));
    return;
  }
  const SlotSet found = sets_[value].slots & wanted;
  for (size_t slot = found._Find_first(); slot < kNumSlots; slot = found._Find_next(slot)) {
    visit(static_cast<int>(slot));
  }
}

}  // namespace skv::router
