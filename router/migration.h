#pragma once
// Samples that go on with another worker group after the request's first token.

#include <iterator>
#include <string_view>

#include "router/kind_counts.h"

namespace skv::router {

// Why a group was left.
enum class MigrationReason {
  kLost,     // its connection broke, its step failed, or it ended the stream early
  kStalled,  // no sign of life, or stuck in a step
  kDrained,  // it was draining and its time for running requests was over
  kRefused,  // it had no room for a sample that had been moved to it
};
inline constexpr MigrationReason kMigrationReasons[] = {
    MigrationReason::kLost, MigrationReason::kStalled, MigrationReason::kDrained,
    MigrationReason::kRefused};

constexpr std::string_view ToString(MigrationReason reason) {
  switch (reason) {
    case MigrationReason::kLost:
      return "lost";
    case MigrationReason::kStalled:
      return "stalled";
    case MigrationReason::kDrained:
      return "drained";
    case MigrationReason::kRefused:
      return "refused";
  }
  return "";
}

// How many samples moved, by reason.
using MigrationCounts = KindCounts<MigrationReason, std::size(kMigrationReasons)>;

}  // namespace skv::router
