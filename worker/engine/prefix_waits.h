#pragma once
// The leader's patience with sequences that wait for a prefix which another sequence computes: when
// each is looked up again. Not thread-safe: the engine's thread only.

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/clock.h"
#include "common/types.h"
#include "worker/scheduler/step_plan.h"

namespace skv::engine {

// Whoever computes a prefix shows it by blocks: a wait looks for new ones this often, but only
// between steps, and ends when it has looked so many times in a row without finding any.
inline constexpr Duration kPrefixLookInterval = std::chrono::seconds(2);
inline constexpr int kPrefixPatience = 5;

class PrefixWaits {
 public:
  // The sequence was looked up: its first num_cached_tokens are there, and it is to wait for more.
  void OnHeld(SequenceId id, int num_cached_tokens, TimePoint now);
  // It was looked up and starts, or it is gone.
  void Forget(SequenceId id) { waits_.erase(id); }

  // What is to be looked up again now, in order of id: those of `ready`, for which the wait is over
  // as far as the store tells, and those whose time has come. Those whose patience has ended may
  // not wait any more.
  std::vector<scheduler::LookUp> TakeDue(const std::vector<SequenceId>& ready, TimePoint now);

 private:
  struct Wait {
    int num_cached_tokens;
    int num_fruitless = 0;  // look-ups since more was found
    TimePoint looked_up;
  };
  absl::flat_hash_map<SequenceId, Wait> waits_;
};

}  // namespace skv::engine
