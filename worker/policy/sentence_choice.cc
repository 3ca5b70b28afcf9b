#include "worker/policy/sentence_choice.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace skv::policy {
namespace {

// Orders by key downward, then by index: the bits of floats that are not negative grow as they do.
// Integers, so that a NaN cannot break the order.
uint64_t RankOf(float key, size_t index) {
  return uint64_t{~std::bit_cast<uint32_t>(key)} << 32 | static_cast<uint32_t>(index);
}

size_t IndexOf(uint64_t rank) { return static_cast<uint32_t>(rank); }

int Length(PositionRange range) { return range.end - range.begin; }

// Where the budget ends: sentences of a lower rank are taken whole, that of `rank` gives `tokens`.
struct Cut {
  uint64_t rank;
  int tokens;
};

// Halves the part in which the budget ends, so that nothing else is sorted.
Cut FindCut(const std::vector<PositionRange>& sentences, std::vector<uint64_t> ranks, int budget) {
  auto begin = ranks.begin(), end = ranks.end();
  while (begin != end) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end);
    int before = 0;
    for (auto it = begin; it != middle; ++it) before += Length(sentences[IndexOf(*it)]);
    const int length = Length(sentences[IndexOf(*middle)]);
    if (before > budget) {
      end = middle;
    } else if (before + length >= budget) {
      return {*middle, budget - before};
    } else {
      budget -= before + length;
      begin = middle + 1;
    }
  }
  return {UINT64_MAX, 0};
}

}  // namespace

void ChooseSentences(const std::vector<PositionRange>& sentences, const std::vector<float>& keys,
                     int budget, std::vector<PositionRange>* chosen) {
  std::vector<uint64_t> ranks(sentences.size());
  for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = RankOf(keys[i], i);
  const Cut cut = FindCut(sentences, ranks, budget);
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i] > cut.rank) continue;
    PositionRange range = sentences[i];
    if (ranks[i] == cut.rank) range.end = range.begin + cut.tokens;
    if (range.begin != range.end) chosen->push_back(range);
  }
}

}  // namespace skv::policy
