#pragma once
// What each cache is expected to have of which prompts. It learns from events: from what this
// router sends, and from whoever watches the caches themselves. It may be wrong either way, which
// costs time and never a token.
//
// What a cache has been told to have, by who watches it or by an answer that came out of it, is a
// fact; what a request that is under way will leave there is a promise. Requests are sent after
// both alike, but whoever withdraws a promise leaves facts as they are.
//
// A key stands for all tokens before it, so what is found of a prompt is its deepest key that a
// cache has, and not every key needs to be there. AddPrompt takes the ones that a store would tell
// of (common/prefix_sample.h), behind the 4096th only every 64th, and the last; CachedTokens asks
// for every one up to the 4096th, whoever added it, and behind it for the ones that AddPrompt
// takes.
//
// A store that evicts tells of each key that it had told of, so that what AddPrompt took goes, too.
// It need not tell of a prompt's last key, which may stand in the midst of a longer one. So a key
// between samples counts only where the sample before it is there: evictions go from the end of a
// chain to its beginning, and what is left of a chain is found too long by 7 sentences at most.
//
// Thread-safe. A call holds a lock for as long as it takes: tens of microseconds for the 800 keys
// of a prompt of 8K tokens, among 10^7 (prefix_index_benchmark.cc).

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/block_key.h"
#include "common/mutex.h"
#include "router/balancer/cache_id.h"
#include "router/balancer/prefix_table.h"

namespace skv::router {

class PrefixIndex {
 public:
  // Keeps so many keys, whatever the number of caches that have them; see PrefixTable.
  explicit PrefixIndex(size_t max_keys) : table_(max_keys) {}

  // The caches that there are. What others had is forgotten, and nothing is added to them. At most
  // 512 are kept; of more, those that come later have to wait. To be called again and again: each
  // call also clears some of what was left behind.
  void SetCaches(std::span<const CacheId> caches);
  // `cache` has nothing any more.
  void Clear(CacheId cache);

  // `cache` has them, and has them no more, whoever had said so.
  void Add(CacheId cache, std::span<const PrefixKey> keys);
  void Remove(CacheId cache, std::span<const PrefixKey> keys);

  // `cache` has the prompt.
  void AddPrompt(CacheId cache, const PrefixChain& prompt);
  // It is about to compute it.
  void PromisePrompt(CacheId cache, const PrefixChain& prompt);
  // It did not come to that: takes back what is only promised of the prompt behind its first
  // `num_tokens` tokens, also where another request promised the same.
  void WithdrawPrompt(CacheId cache, const PrefixChain& prompt, int64_t num_tokens);

  // For each of `caches`, how many tokens of the prompt it has, from the first on, as far as the
  // prompt's request can use them.
  std::vector<int64_t> CachedTokens(const PrefixChain& prompt,
                                    std::span<const CacheId> caches) const;

  struct Stats {
    size_t num_keys = 0;
    size_t max_keys = 0;
    uint64_t num_evicted_keys = 0;  // that made room for others
  };
  Stats stats() const;

 private:
  using SlotSet = PrefixTable::SlotSet;

  int SlotOf(CacheId cache) const SKV_REQUIRES(mutex_);  // -1: none
  int TakeSlot() SKV_REQUIRES(mutex_);                   // -1: none left
  // Of `wanted`, the slots that have this key of the prompt.
  SlotSet Holders(const PrefixChain& prompt, size_t key_idx, const SlotSet& wanted) const
      SKV_REQUIRES(mutex_);
  void Sweep() SKV_REQUIRES(mutex_);

  mutable Mutex mutex_;
  PrefixTable table_ SKV_GUARDED_BY(mutex_);
  // A slot is free, one cache's, or left behind: a key may still name it, so that it can only be
  // free again when a sweep that began later has gone through the whole table.
  absl::flat_hash_map<CacheId, int> slots_ SKV_GUARDED_BY(mutex_);
  SlotSet used_ SKV_GUARDED_BY(mutex_);      // one cache's, or left behind
  SlotSet left_ SKV_GUARDED_BY(mutex_);      // left behind, not being swept
  SlotSet sweeping_ SKV_GUARDED_BY(mutex_);  // left behind, being swept
};

}  // namespace skv::router
