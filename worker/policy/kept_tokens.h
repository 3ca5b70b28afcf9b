#pragma once
// The tokens of one KV head that may be selected, in order of position. What ranks sentences counts
// in their numbers (0, 1, ...), so that it need not know that some prompt tokens are left out.
// Immutable, hence thread-safe.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

class KeptTokens {
 public:
  // Every token: number and position are one.
  KeptTokens() = default;
  // The prompt tokens at `prompt_positions` (sorted, not empty), and all tokens after the prompt.
  KeptTokens(std::vector<int32_t> prompt_positions, int num_prompt_tokens);

  // How many kept tokens lie before `position`: the number of the first one at or after it.
  int NumBefore(int position) const;
  // Appends the positions of the kept tokens [first, last).
  void AppendPositions(int first, int last, std::vector<PositionRange>* ranges) const;

  size_t size_bytes() const { return prompt_positions_.capacity() * sizeof(int32_t); }

 private:
  int num_kept() const { return static_cast<int>(prompt_positions_.size()); }

  std::vector<int32_t> prompt_positions_;
  int num_prompt_tokens_ = 0;
};

}  // namespace skv::policy
