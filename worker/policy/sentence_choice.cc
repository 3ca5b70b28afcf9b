#include "worker/policy/sentence_choice.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace skv::policy {
namespace {

int Length(PositionRange range) { return range.end - range.begin; }

// Where the budget ends: sentences of larger keys are taken whole, those of this one share
// `tokens`.
struct Cut {
  uint32_t key;
  int tokens;
};

// Fixes the key in which the budget ends byte by byte from the top, with a histogram of the tokens
// of the sentences that agree so far: no sorting, and no branches that depend on an order.
//   REQUIRES: 0 < budget < all tokens
Cut FindCut(const std::vector<PositionRange>& sentences, const std::vector<uint32_t>& keys,
            int budget) {
  uint32_t cut = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    std::array<int, 256> tokens = {};
    for (size_t i = 0; i < keys.size(); ++i) {
      const bool agrees = (uint64_t{keys[i]} ^ cut) >> (shift + 8) == 0;
      tokens[keys[i] >> shift & 255] += agrees ? Length(sentences[i]) : 0;
    }
    uint32_t byte = 255;
    for (; tokens[byte] < budget; --byte) budget -= tokens[byte];
    cut |= byte << shift;
  }
  return {cut, budget};
}

}  // namespace

void ChooseSentences(const std::vector<PositionRange>& sentences, const std::vector<float>& keys,
                     int budget, std::vector<PositionRange>* chosen) {
  int total = 0;
  for (const PositionRange& sentence : sentences) total += Length(sentence);
  // The bits of floats that are not negative grow as they do; as integers a NaN is a key as well.
  std::vector<uint32_t> bits(sentences.size());
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = std::bit_cast<uint32_t>(keys[i]);
  Cut cut = total <= budget ? Cut{0, total} : FindCut(sentences, bits, budget);
  for (size_t i = 0; i < bits.size(); ++i) {
    if (bits[i] < cut.key) continue;
    PositionRange range = sentences[i];
    if (bits[i] == cut.key) {
      range.end = std::min(range.end, range.begin + cut.tokens);
      cut.tokens -= Length(range);
    }
    if (range.begin != range.end) chosen->push_back(range);
  }
}

}  // namespace skv::policy
