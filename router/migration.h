#pragma once
// Samples that go on with another worker group after the request's first token.

#include <array>
#include <cstdint>
#include <string_view>

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
class MigrationCounts {
 public:
  void Add(MigrationReason reason) { ++counts_[static_cast<size_t>(reason)]; }
  int of(MigrationReason reason) const { return counts_[static_cast<size_t>(reason)]; }
  int total() const {
    int sum = 0;
    for (const int count : counts_) sum += count;
    return sum;
  }

 private:
  std::array<int, std::size(kMigrationReasons)> counts_{};
};

}  // namespace skv::router
