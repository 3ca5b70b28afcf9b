#include "worker/engine/prefix_waits.h"

#include <algorithm>

namespace skv::engine {

void PrefixWaits::OnHeld(SequenceId id, int num_cached_tokens, TimePoint now) {
  Wait& wait = waits_.try_emplace(id, Wait{.num_cached_tokens = -1}).first->second;
  wait.num_fruitless = num_cached_tokens > wait.num_cached_tokens ? 0 : wait.num_fruitless + 1;
  wait.num_cached_tokens = std::max(num_cached_tokens, wait.num_cached_tokens);
  wait.looked_up = now;
}

std::vector<scheduler::LookUp> PrefixWaits::TakeDue(const std::vector<SequenceId>& ready,
                                                    TimePoint now) {
  std::vector<scheduler::LookUp> due;
  for (auto& [id, wait] : waits_) {
    const bool is_ready = std::ranges::find(ready, id) != ready.end();
    if (!is_ready && now - wait.looked_up < kPrefixLookInterval) continue;
    due.push_back({.id = id, .may_wait = wait.num_fruitless < kPrefixPatience});
    wait.looked_up = now;
  }
  std::ranges::sort(due, {}, &scheduler::LookUp::id);
  return due;
}

}  // namespace skv::engine
