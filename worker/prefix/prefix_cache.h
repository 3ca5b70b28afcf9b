#pragma once
// One rank's reuse of prompts that were read before. The blocks of a prompt's sentences are created
// in a store (kvstore/client), written in place by the forward pass, sealed after the step that
// completed them, and leased by the next sequence whose prompt begins with the same sentences.
//
// A sequence claims all sentences that it is going to compute, so that others who want the same
// wait for it. Nothing depends on the store: what it does not give is computed, in private blocks
// of the KV pool, and its errors are counted and logged now and then.
//
// Engine thread only; calls may take kStoreTimeout each, after which the client takes its store for
// lost. Blocks may outlive the cache.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "common/clock.h"
#include "common/types.h"
#include "kvstore/client/block_client.h"
#include "worker/kv/kv_layout.h"
#include "worker/kv/prompt_block.h"
#include "worker/prefix/recomputed_block.h"
#include "worker/prefix/stored_block.h"

namespace skv::prefix {

// For the health of the store, not of a request: a healthy one answers within a millisecond.
inline constexpr Duration kStoreTimeout = std::chrono::seconds(2);

struct PrefixRequest {
  SequenceId id = 0;                   // under which it waits
  PrefixKey root;                      // of tenant, model and segmenter
  std::span<const TokenId> tokens;     // the whole prompt
  std::span<const int> sentence_ends;  // exclusive; ascend strictly, from 1 to tokens.size()
  int max_cached_tokens = 0;           // no hit is longer
  bool may_wait = false;               // for what another sequence is writing
};

// Since the start. A look-up that ends with waiting counts as a wait only.
struct PrefixCounters {
  uint64_t num_looked_up_tokens = 0;  // of prompts
  uint64_t num_hit_tokens = 0;        // of them, before ranks agreed on fewer
  uint64_t num_waits = 0;
  uint64_t num_claimed_blocks = 0;  // created, to be written
  uint64_t num_sealed_blocks = 0;   // of them, that others can find, or will
  uint64_t num_private_blocks = 0;  // that were written, and nobody else will find
  uint64_t num_failed_blocks = 0;   // not created, or not sealed, for an error
};

class PrefixCache {
 public:
  // `client` and `clock` outlive the cache; `layout` is that of the client's blocks.
  PrefixCache(kvstore::BlockClient* client, const kv::KvLayout& layout, const Clock& clock);

  struct Hit {
    int num_cached_tokens = 0;  // a sentence end, or 0
    // Another is writing the first sentence that is missing: look up again once TakeReady names the
    // sequence, or when patience ends. Only the hit so far is held.
    bool in_progress = false;
    // By sentence, for SequenceCache::UsePrompt: those of the hit are written, then come those that
    // the sequence is to write; null: not in the store.
    std::vector<std::shared_ptr<kv::PromptBlock>> blocks;
    // Sentences before the first that the store refused: found, claimed, or another's.
    size_t num_offered = 0;

    // Gives back the hit's blocks behind num_tokens; they are null then. The lease goes with the
    // last of a hit. REQUIRES: num_tokens is 0 or a sentence end, at most num_cached_tokens.
    void Truncate(int num_tokens);
    // Gives up what was claimed behind the first `num_sentences`.
    void KeepClaims(size_t num_sentences);
  };
  // Leases the longest prefix that the store has, up to max_cached_tokens, and claims all other
  // sentences of the prompt. Ends an earlier wait of the sequence. What one may not wait for any
  // more, nobody waits for in the next minute.
  Hit LookUp(const PrefixRequest& request);
  // The same in two, for ranks that follow: whether to wait is rank 0's word. Who claims before it
  // is known, and gives up again, takes an entry from those who write their ranks' blocks of it.
  Hit Find(const PrefixRequest& request);
  void ClaimRest(const PrefixRequest& request, Hit* hit);

  // The last sentences of the hit, kMaxRecomputedTokens at most, are to be computed by the sequence
  // as well, and compared with what was found. Returns how many tokens are cached without them.
  int Recompute(Hit* hit);
  static constexpr int kMaxRecomputedTokens = 512;

  // After each step: makes the blocks that it completed visible to others, in one call; the store
  // is told of leases that have ended.
  // Internal: the store has refused a block that sequences read, and may use its memory for
  // something else: the rank must not go on. A store that is gone, full or late is no error.
  absl::Status SealCompleted();

  // Sequences for which waiting is over since the last call: what they waited for was sealed, or
  // nobody writes it now. Never blocks.
  std::vector<SequenceId> TakeReady();
  // A sequence that waits has gone.
  void StopWaiting(SequenceId id) { awaited_.erase(id); }

  const PrefixCounters& counters() const { return counters_; }
  const RecomputeCounters& recompute_counters() const { return *recompute_counters_; }
  kvstore::BlockClientGauges store_gauges() const { return client_->gauges(); }

 private:
  using Creations = std::vector<absl::StatusOr<kvstore::Creation>>;
  struct Prompt;

  TimePoint Deadline() const { return clock_.Now() + kStoreTimeout; }
  Hit Find(const Prompt& prompt);
  bool IsWorthWaiting(const PrefixKey& missing, bool may_wait);
  size_t FindPart(const Prompt& prompt, std::span<const PrefixKey> keys, Hit* hit);
  Creations CreateRest(const Prompt& prompt, const Hit& hit);
  bool Wait(const Prompt& prompt, const Hit& hit, const Creations& creations);
  void Claim(const Prompt& prompt, Creations creations, Hit* hit);
  void SendEnds();

  kvstore::BlockClient* const client_;
  const kv::KvLayout layout_;
  const Clock& clock_;
  const std::shared_ptr<SealQueue> completed_ = std::make_shared<SealQueue>();
  std::map<SequenceId, PrefixKey> awaited_;
  std::map<PrefixKey, TimePoint> given_up_;  // keys that were waited for in vain, until when
  PrefixCounters counters_;
  const std::shared_ptr<RecomputeCounters> recompute_counters_ =
      std::make_shared<RecomputeCounters>();
};

}  // namespace skv::prefix
