#include "worker/scheduler/capacity.h"

namespace skv::scheduler {

Footprint& Footprint::operator+=(const Footprint& other) {
  kv_tokens += other.kv_tokens;
  num_sequences += other.num_sequences;
  return *this;
}

Footprint& Footprint::operator-=(const Footprint& other) {
  kv_tokens -= other.kv_tokens;
  num_sequences -= other.num_sequences;
  return *this;
}

Footprint WorstCase(int num_prompt_tokens, int max_tokens, int num_samples, int page_tokens) {
  const auto whole_pages = [page = int64_t{page_tokens}](int num_tokens) {
    return (num_tokens + page - 1) / page * page;
  };
  return {.kv_tokens = whole_pages(num_prompt_tokens) + num_samples * whole_pages(max_tokens),
          .num_sequences = num_samples};
}

bool Fits(const Footprint& wanted, const Footprint& used, const Footprint& limit) {
  return used.kv_tokens + wanted.kv_tokens <= limit.kv_tokens &&
         used.num_sequences + wanted.num_sequences <= limit.num_sequences;
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
