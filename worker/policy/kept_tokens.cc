#include "worker/policy/kept_tokens.h"

#include <algorithm>
#include <utility>

#include "worker/policy/position_ranges.h"

namespace skv::policy {

KeptTokens::KeptTokens(std::vector<int32_t> prompt_positions, int num_prompt_tokens)
    : prompt_positions_(std::move(prompt_positions)), num_prompt_tokens_(num_prompt_tokens) {}

int KeptTokens::NumBefore(int position) const {
  if (position >= num_prompt_tokens_) return num_kept() + position - num_prompt_tokens_;
  return static_cast<int>(
      std::lower_bound(prompt_positions_.begin(), prompt_positions_.end(), position) -
      prompt_positions_.begin());
}

void KeptTokens::AppendPositions(int first, int last, std::vector<PositionRange>* ranges) const {
  for (; first < std::min(last, num_kept()); ++first) {
    AppendRange({prompt_positions_[first], prompt_positions_[first] + 1}, ranges);
  }
  if (first >= last) return;
  const int shift = num_prompt_tokens_ - num_kept();
  AppendRange({first + shift, last + shift}, ranges);
}

}  // namespace skv::policy
