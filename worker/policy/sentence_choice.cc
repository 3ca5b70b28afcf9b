#include "worker/policy/sentence_choice.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/denormals.h"
#include "kernels/selection.h"

namespace skv::policy {

void ChooseSentences(std::span<const PositionRange> sentences, std::span<const float> keys,
                     int budget, std::vector<PositionRange>* chosen) {
  const kernels::FlushDenormals flush;  // keys compare here as they do in FindCut
  const int n = static_cast<int>(keys.size());
  // Kept by the thread, so that nothing is allocated.
  thread_local std::vector<float> lengths;
  thread_local std::vector<int32_t> numbers;
  lengths.resize(n);
  numbers.resize(n);
  for (int i = 0; i < n; ++i) {
    lengths[i] = static_cast<float>(sentences[i].end - sentences[i].begin);
  }
  const kernels::KeyCut cut =
      kernels::FindCut(keys.data(), lengths.data(), n, static_cast<float>(budget));
  int left = budget - static_cast<int>(cut.weight_above);  // for the sentences with the cut's key
  const int num_entries = kernels::EntriesFrom(keys.data(), n, cut.key, numbers.data());
  for (int i = 0; i < num_entries; ++i) {
    PositionRange range = sentences[numbers[i]];
    if (std::min(std::numeric_limits<float>::max(), keys[numbers[i]]) == cut.key) {
      range.end = std::min(range.end, range.begin + left);
      left -= range.end - range.begin;
    }
    if (range.begin != range.end) chosen->push_back(range);
  }
}

}  // namespace skv::policy
