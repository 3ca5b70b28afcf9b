#pragma once
// Ends a stream of text at the first stop string, without showing any part of it.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skv::text {

// Not thread-safe; one per stream.
class StopMatcher {
 public:
  static constexpr size_t kMaxStops = 64;
  static constexpr size_t kMaxStopBytes = 1024;

  struct Result {
    std::string text;                    // may be shown now
    std::optional<size_t> matched_stop;  // index into `stops`; the stream has ended
  };

  // `stops` may be empty. InvalidArgument: more than kMaxStops of them, or one that is empty,
  // longer than kMaxStopBytes or not UTF-8.
  static absl::StatusOr<StopMatcher> Create(std::vector<std::string> stops);

  // Takes the next piece of the stream's text, cut anywhere. The stop string that ends first
  // counts, of several that end together the longest. After a match every call returns the same
  // index and no text.
  Result Push(std::string_view text);

  // Ends the stream: the text that was held back because it could have become a stop string.
  std::string Flush();

 private:
  explicit StopMatcher(std::vector<std::string> stops);
  void Advance(char c);

  std::vector<std::string> stops_;
  std::vector<std::vector<size_t>>
      borders_;                      // [stop][n]: longest proper border of its first n bytes
  std::vector<size_t> num_matched_;  // [stop]: bytes of it that end the text so far
  std::string held_;                 // text not shown yet
  std::optional<size_t> matched_stop_;
};

}  // namespace skv::text
