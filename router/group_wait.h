#pragma once
// Streams that wait for a worker group when theirs was lost and no other is left.

#include <iterator>
#include <string_view>

#include "router/kind_counts.h"

namespace skv::router {

// How such a wait ended.
enum class WaitOutcome {
  kResumed,  // a group took the stream
  kExpired,  // none did in time
  kRefused,  // it did not begin: too many streams were waiting
  kEnded,    // the request ended by itself: its client left, or another of its samples failed
};
inline constexpr WaitOutcome kWaitOutcomes[] = {WaitOutcome::kResumed, WaitOutcome::kExpired,
                                                WaitOutcome::kRefused, WaitOutcome::kEnded};

constexpr std::string_view ToString(WaitOutcome outcome) {
  switch (outcome) {
    case WaitOutcome::kResumed:
      return "resumed";
    case WaitOutcome::kExpired:
      return "expired";
    case WaitOutcome::kRefused:
      return "refused";
    case WaitOutcome::kEnded:
      return "ended";
  }
  return "";
}

using WaitCounts = KindCounts<WaitOutcome, std::size(kWaitOutcomes)>;

}  // namespace skv::router
