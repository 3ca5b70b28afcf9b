#pragma once
// Lists of ranges that are sorted, disjoint and not empty.

#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// Appends `range`, which begins at or after the last one's end; one that touches it prolongs it,
// and an empty one is left out.
inline void AppendRange(PositionRange range, std::vector<PositionRange>* ranges) {
  if (range.begin == range.end) return;
  if (!ranges->empty() && ranges->back().end == range.begin) {
    ranges->back().end = range.end;
  } else {
    ranges->push_back(range);
  }
}

}  // namespace skv::policy
