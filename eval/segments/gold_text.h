#pragma once
// Sentences marked by hand: the format of gold.txt.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skv::segments {

struct GoldDocument {
  std::string kind;
  std::string text;
  // Offsets in `text` of the first byte behind each sentence that is not white space; the last
  // sentence has none.
  std::vector<size_t> ends;
};

// InvalidArgument, naming the line: a sentence before the first document, an unknown escape.
absl::StatusOr<std::vector<GoldDocument>> ParseGold(std::string_view file);

}  // namespace skv::segments
