#pragma once
// Monotonic time behind an interface, so that a test can control it.

#include <chrono>

namespace skv {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

// Thread-safe. Implementations outlive every user.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
};

// The machine's monotonic clock; lives for the whole process.
const Clock& RealClock();

inline double ToSeconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace skv
