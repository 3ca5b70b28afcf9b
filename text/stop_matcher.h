#pragma once
// Ends a stream of text at the first stop string, without showing any part of it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skv::text {

// Stop strings made ready to be searched for. Immutable and thread-safe: all streams of a request
// share one.
class StopSet {
 public:
  static constexpr size_t kMaxStops = 64;
  static constexpr size_t kMaxStopBytes = 1024;

  // `stops` may be empty. InvalidArgument: more than kMaxStops of them, or one that is empty,
  // longer than kMaxStopBytes or not UTF-8.
  static absl::StatusOr<std::shared_ptr<const StopSet>> Create(std::vector<std::string> stops);

  size_t size() const { return stops_.size(); }
  const std::string& stop(size_t idx) const { return stops_[idx]; }
  // The longest proper border of the first `num_bytes` bytes of stop `idx`.
  size_t Border(size_t idx, size_t num_bytes) const { return borders_[idx][num_bytes]; }

 private:
  explicit StopSet(std::vector<std::string> stops);

  const std::vector<std::string> stops_;
  std::vector<std::vector<uint16_t>> borders_;  // [stop][num_bytes]
};

// Not thread-safe; one per stream.
class StopMatcher {
 public:
  struct Result {
    std::string text;                    // may be shown now
    std::optional<size_t> matched_stop;  // index into `stops`; the stream has ended
  };

  explicit StopMatcher(std::shared_ptr<const StopSet> stops);

  // Takes the next piece of the stream's text, cut anywhere. The stop string that ends first
  // counts, of several that end together the longest. After a match every call returns the same
  // index and no text.
  Result Push(std::string_view text);

  // Ends the stream: the text that was held back because it could have become a stop string.
  std::string Flush();

 private:
  void Advance(char c);

  std::shared_ptr<const StopSet> stops_;
  std::vector<size_t> num_matched_;  // [stop]: bytes of it that end the text so far
  std::string held_;                 // text not shown yet
  std::optional<size_t> matched_stop_;
};

}  // namespace skv::text
