#include "worker/engine/prefix_waits.h"

#include <algorithm>

namespace skv::engine {

void PrefixWaits::OnHeld(SequenceId id, int num_cached_tokens, TimePoint now) {
  const auto [it, is_new] = waits_.try_emplace(id, Wait{num_cached_tokens, now, now});
  Wait& wait = it->second;
  if (!is_new && num_cached_tokens > wait.num_cached_tokens) wait.progressed = now;
  wait.num_cached_tokens = num_cached_tokens;
  wait.looked_up = now;
}

std::vector<scheduler::LookUp> PrefixWaits::TakeDue(const std::vector<SequenceId>& ready,
                                                    TimePoint now) {
  std::vector<scheduler::LookUp> due;
  for (auto& [id, wait] : waits_) {
    const bool is_ready = std::ranges::find(ready, id) != ready.end();
    if (!is_ready && now - wait.looked_up < kPrefixLookInterval) continue;
    due.push_back({.id = id, .may_wait = now - wait.progressed < kPrefixPatience});
    wait.looked_up = now;
  }
  std::ranges::sort(due, {}, &scheduler::LookUp::id);
  return due;
}

}  // namespace skv::engine
