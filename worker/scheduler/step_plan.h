#pragma once
// What every rank does in one step. The leader's scheduler makes it, Encode and Decode carry it to
// the followers, and each rank applies it in the order of the fields: release, admit, look up,
// fork, run the chunks.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "common/types.h"
#include "worker/policy/policy_params.h"

namespace skv::scheduler {

// docs/arithmetic.md: which attention a position gets, for as long as its sequence lives.
enum class PositionClass : uint8_t { kPrompt = 0, kGenerated = 1 };

// A sequence that gets KV memory. It may carry the id of one that the same plan releases: a
// preempted sequence that starts over. With prompt_ids it looks up what of its prompt was computed
// before, and may wait for what others are computing; then its chunks begin in a later plan.
struct Admission {
  SequenceId id = 0;
  int num_prompt_tokens = 0;       // at least 1
  int max_tokens_total = 0;        // prompt and generated: the sequence never holds more
  std::vector<int> sentence_ends;  // of the prompt: ascending, from 1 to num_prompt_tokens
  policy::PolicyParams policy;     // valid
  // Prompt sentences to name for each generated sentence; 0: what is read is not watched.
  int explain_top = 0;
  // Of the working set that it, and each sequence that forks from it, gets; 0: none.
  int num_slots = 0;
  std::vector<TokenId> prompt_ids;  // num_prompt_tokens; empty: does not look up
  PrefixKey prefix_root;            // of its sentences' keys; zero unless it looks up
  // Prompt tokens that it may find: 1 to num_prompt_tokens - 1; 0 unless it looks up.
  int max_cached_tokens = 0;
  bool operator==(const Admission&) const = default;
};

// A sequence that an earlier plan admitted and that had to wait: it looks up again.
struct LookUp {
  SequenceId id = 0;
  bool may_wait = false;  // for what others are computing; if not, it goes on without
  bool operator==(const LookUp&) const = default;
};

// A sequence that starts with the first `num_shared_tokens` tokens of `parent`: its whole prompt,
// which an earlier step completed. The parent may hold more tokens than that.
struct Fork {
  SequenceId child = 0;
  SequenceId parent = 0;
  int num_shared_tokens = 0;
  int max_tokens_total = 0;  // of the child, shared tokens included
  bool operator==(const Fork&) const = default;
};

// Consecutive tokens of one sequence and one class.
struct Chunk {
  SequenceId id = 0;
  int first_position = 0;  // = tokens that the sequence already holds
  int num_tokens = 0;      // at least 1
  PositionClass position_class = PositionClass::kPrompt;
  bool sample = false;  // the last token's logits are wanted
  bool operator==(const Chunk&) const = default;
};

struct StepPlan {
  int64_t step_idx = 0;  // counts from 0; names the step in messages
  std::vector<SequenceId> released;
  std::vector<Admission> admitted;
  std::vector<LookUp> lookups;  // beside those of the admitted, and after them
  std::vector<Fork> forked;
  // Decodes first. A sequence has at most two: the end of its prompt, then generated tokens.
  std::vector<Chunk> chunks;
  std::vector<TokenId> tokens;  // of all chunks, one after the other
  bool shutdown = false;        // followers leave their loop; no other field counts

  bool operator==(const StepPlan&) const = default;
};

// The bytes are those of this release only: leader and followers are started from one binary.
std::string Encode(const StepPlan& plan);

// Accepts any bytes. DataLoss, with the offset, when they are not what Encode returns: then ranks
// have lost step and the group must end. A decoded plan is well formed (class sizes, counts,
// sentence ends, policies, positions and token ids in range, whole prompts or none, as many tokens
// as the chunks name); whether its sequences exist is for the engine to check.
absl::StatusOr<StepPlan> Decode(std::string_view bytes);

}  // namespace skv::scheduler
