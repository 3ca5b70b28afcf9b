#include "worker/scheduler/capacity.h"

#include <algorithm>
#include <cmath>

#include "common/rounding.h"

namespace skv::scheduler {

Footprint& Footprint::operator+=(const Footprint& other) {
  kv_tokens += other.kv_tokens;
  num_sequences += other.num_sequences;
  num_slots += other.num_slots;
  return *this;
}

Footprint& Footprint::operator-=(const Footprint& other) {
  kv_tokens -= other.kv_tokens;
  num_sequences -= other.num_sequences;
  num_slots -= other.num_slots;
  return *this;
}

int64_t PromptKvTokens(int num_prompt_tokens, absl::Span<const int> sentence_ends,
                       int unit_tokens) {
  int64_t kv_tokens = 0;
  int begin = 0;
  for (const int end : sentence_ends) {
    kv_tokens += RoundUp<int64_t>(end - begin, unit_tokens);
    begin = end;
  }
  return kv_tokens + RoundUp<int64_t>(num_prompt_tokens - begin, unit_tokens);
}

int WorkingSetSlots(const policy::PolicyParams& params, double factor, int max_positions) {
  if (!policy::HasBudget(params.name)) return 0;
  if (params.min_recall > 0) return max_positions;
  const double wanted = std::ceil(factor * params.budget_tokens);
  return static_cast<int>(std::min<double>(wanted, max_positions));
}

Footprint WorstCase(int64_t prompt_kv_tokens, int max_tokens, int num_samples, int page_tokens) {
  return {.kv_tokens = prompt_kv_tokens + num_samples * RoundUp<int64_t>(max_tokens, page_tokens),
          .num_sequences = num_samples};
}

bool Fits(const Footprint& wanted, const Footprint& used, const Footprint& limit) {
  return used.kv_tokens + wanted.kv_tokens <= limit.kv_tokens &&
         used.num_sequences + wanted.num_sequences <= limit.num_sequences &&
         used.num_slots + wanted.num_slots <= limit.num_slots;
}

std::vector<int> ChooseEvictions(const Footprint& wanted, const Footprint& used,
                                 const Footprint& limit, absl::Span<const Footprint> evictable) {
  Footprint left = used;
  size_t num_taken = 0;
  while (!Fits(wanted, left, limit) && num_taken < evictable.size()) {
    left -= evictable[num_taken++];
  }
  if (!Fits(wanted, left, limit)) return {};
  std::vector<int> evictions;
  for (size_t i = 0; i < num_taken; ++i) {
    Footprint with = left;
    with += evictable[i];
    if (Fits(wanted, with, limit)) {
      left = with;
    } else {
      evictions.push_back(static_cast<int>(i));
    }
  }
  return evictions;
}

}  // namespace skv::scheduler
