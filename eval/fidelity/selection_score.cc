#include "eval/fidelity/selection_score.h"

#include <algorithm>
#include <numeric>

namespace skv::eval {
namespace {

using policy::PositionRange;

// Entry i: how many positions before i are attended.
std::vector<int> CountBefore(int num_visible, const std::vector<PositionRange>& attended) {
  std::vector<int> before(num_visible + 1, 0);
  for (const PositionRange& range : attended) {
    std::fill(before.begin() + range.begin + 1, before.begin() + range.end + 1, 1);
  }
  std::partial_sum(before.begin(), before.end(), before.begin());
  return before;
}

void ScoreOutput(const TrueAttention& truth, const float* values,
                 const std::vector<PositionRange>& attended, SelectionScore* score) {
  const int n = truth.num_visible, width = truth.head_dim;
  std::vector<float> output(width);
  for (int h = 0; h < truth.group_size; ++h) {
    const float* const mass = truth.mass.data() + int64_t{h} * n;
    double kept = 0;
    std::fill(output.begin(), output.end(), 0.0f);
    for (const PositionRange& range : attended) {
      kept += std::accumulate(mass + range.begin, mass + range.end, 0.0);
      AddWeightedRows(mass, values, range, width, output.data());
    }
    for (int c = 0; c < width; ++c) {
      const double full = truth.output[h * width + c];
      const double chosen = kept > 0 ? output[c] / kept : 0;
      score->error2 += (chosen - full) * (chosen - full);
      score->full2 += full * full;
      score->chosen2 += chosen * chosen;
      score->cross += full * chosen;
    }
  }
}

void ScoreSentences(const policy::SentenceView& view, const std::vector<int>& before,
                    SelectionScore* score) {
  const int count = static_cast<int>(view.sentences.size());
  std::vector<int> ranking(count);
  std::iota(ranking.begin(), ranking.end(), 0);
  std::ranges::stable_sort(ranking, std::ranges::greater(),
                           [&](int i) { return view.sentences[i].mass; });
  std::vector<int> chosen_before(count + 1, 0);  // of the true ranking
  for (int i = 0; i < count; ++i) {
    const PositionRange range = view.sentences[ranking[i]].range;
    const int attended = before[range.end] - before[range.begin];
    chosen_before[i + 1] = chosen_before[i] + (2 * attended >= range.end - range.begin);
  }
  for (size_t k = 0; k < kTopSentences.size(); ++k) {
    const int top = std::min(kTopSentences[k], count);
    score->top_chosen[k] = top == 0 ? 1 : static_cast<float>(chosen_before[top]) / top;
  }
  const int chosen = chosen_before[count];
  score->precision = chosen == 0 ? 1 : static_cast<float>(chosen_before[chosen]) / chosen;
}

}  // namespace

SelectionScore ScoreSelection(const TrueAttention& truth, const float* values,
                              const policy::SentenceView& view,
                              const std::vector<PositionRange>& attended, PositionRange needle) {
  SelectionScore score;
  const std::vector<int> before = CountBefore(truth.num_visible, attended);
  score.attended = before.back();
  double recall = 0;
  for (const PositionRange& range : attended) recall += truth.MassOf(range);
  // Everything is everything, however its parts are summed.
  score.recall =
      score.attended == truth.num_visible ? 1.0f : static_cast<float>(recall / truth.group_size);
  ScoreOutput(truth, values, attended, &score);
  ScoreSentences(view, before, &score);
  const int needle_length = needle.end - needle.begin;
  score.needle =
      needle_length == 0
          ? 1.0f
          : static_cast<float>(before[needle.end] - before[needle.begin]) / needle_length;
  score.needle_mass = static_cast<float>(truth.MassOf(needle) / truth.group_size);
  return score;
}

}  // namespace skv::eval
