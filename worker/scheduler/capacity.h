#pragma once
// What fits: KV tokens, slots of working sets and sequences that requests take, and whom to evict
// for another.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/policy/policy_params.h"

namespace skv::scheduler {

struct Footprint {
  int64_t kv_tokens = 0;
  int num_sequences = 0;
  int64_t num_slots = 0;  // of working sets

  Footprint& operator+=(const Footprint& other);
  Footprint& operator-=(const Footprint& other);
  bool operator==(const Footprint&) const = default;
};

// KV tokens that a prompt takes: each of its sentences lies in units of its own. `sentence_ends`
// ascend, from 1 to num_prompt_tokens; what follows the last is a sentence too.
int64_t PromptKvTokens(int num_prompt_tokens, absl::Span<const int> sentence_ends, int unit_tokens);

// Slots of one sequence's working set: `factor` times its policy's budget, rounded up, and no
// more than the `max_positions` that it can come to hold; as many as these with a `min_recall`, for
// which a row may attend everything. 0 for a policy that attends everything anyway: it has no
// working set.
int WorkingSetSlots(const policy::PolicyParams& params, double factor, int max_positions);

// The worst case of `num_samples` sequences that share a prompt: the prompt's tokens count once,
// the whole pages of max_tokens for each sample. Working sets are not in it.
Footprint WorstCase(int64_t prompt_kv_tokens, int max_tokens, int num_samples, int page_tokens);

// True when `wanted` fits beside `used` within `limit`.
bool Fits(const Footprint& wanted, const Footprint& used, const Footprint& limit);

// Who has to go so that `wanted` fits: indices into `evictable`, which lists running requests, the
// one to go first in front. Takes from the front until it fits, then spares from the front whom it
// turned out not to need. Empty when nobody has to go, or when evicting all would not do: ask Fits
// which.
std::vector<int> ChooseEvictions(const Footprint& wanted, const Footprint& used,
                                 const Footprint& limit, absl::Span<const Footprint> evictable);

}  // namespace skv::scheduler
