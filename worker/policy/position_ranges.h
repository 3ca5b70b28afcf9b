#pragma once
// Lists of ranges that are sorted, disjoint and not empty.

#include <algorithm>
#include <cstdint>
#include <span>
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

// Positions of `ranges`, sorted by their begins but maybe overlapping, that lie outside of
// `excluded`, each counted once.
inline int64_t NumOutside(std::span<const PositionRange> ranges,
                          std::span<const PositionRange> excluded) {
  int64_t count = 0;
  int next = 0;  // nothing before it remains to be counted
  auto hole = excluded.begin();
  for (const PositionRange& range : ranges) {
    next = std::max(next, range.begin);
    while (next < range.end) {
      while (hole != excluded.end() && hole->end <= next) ++hole;
      const int end = hole == excluded.end() ? range.end : std::min(range.end, hole->begin);
      if (next < end) {
        count += end - next;
        next = end;
      } else {
        next = std::min(range.end, hole->end);
      }
    }
  }
  return count;
}

}  // namespace skv::policy
