#pragma once
// Waiting for what another thread or process does.

#include <chrono>
#include <thread>

#include "absl/functional/function_ref.h"
#include "common/clock.h"

namespace skv {

// For what must happen, however loaded the machine is; nothing waits for it when all is well.
inline constexpr std::chrono::seconds kPatience{120};

// Asks again each `pause`; false when `condition` did not hold within `patience`.
inline bool Eventually(absl::FunctionRef<bool()> condition, Duration patience = kPatience,
                       Duration pause = std::chrono::milliseconds(1)) {
  const TimePoint end = RealClock().Now() + patience;
  while (!condition()) {
    if (RealClock().Now() > end) return false;
    std::this_thread::sleep_for(pause);
  }
  return true;
}

}  // namespace skv
