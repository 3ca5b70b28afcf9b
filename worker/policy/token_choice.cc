#include "worker/policy/token_choice.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include "kernels/denormals.h"
#include "kernels/selection.h"
#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

// A thread keeps one for all heads: nothing is allocated.
struct Workspace {
  std::vector<float> query;  // [group_size, head_dim], scaled as attention scales it
  std::vector<std::byte> packed_query;
  std::vector<float> scores;  // [group_size, tokens]
  std::vector<float> mass;
  std::vector<int32_t> chosen;
};

Workspace& ThreadWorkspace() {
  thread_local Workspace workspace;
  return workspace;
}

// Scores of the n tokens of `found` by work->query, numbered as they come: the first and last ones
// by their keys, the rest by their sketches.
void ScoreBySketches(const KvReader& kv, const SequenceShape& shape,
                     const std::vector<PositionRange>& found, const TokenLimits& limits, int n,
                     std::span<const kernels::SketchRun> sketches, Workspace* work) {
  float* const scores = work->scores.data();
  const auto score_by_keys = [&](int begin, int end, float* of_range) {
    const PositionRange range = {begin, end};
    if (begin < end) {
      kv.ScoreKeys(work->query.data(), shape.group_size, std::span(&range, 1), of_range, n);
    }
  };
  const int begin = found.front().begin, end = found.back().end;
  score_by_keys(begin, begin + limits.num_first, scores);
  score_by_keys(end - limits.num_last, end, scores + n - limits.num_last);
  work->packed_query.resize(kernels::SketchQueryBytes(shape.group_size, shape.head_dim));
  kernels::PackSketchQueries(work->query.data(), shape.group_size, shape.head_dim,
                             work->packed_query.data());
  kernels::ScoreSketches(work->packed_query.data(), shape.group_size, shape.head_dim,
                         sketches.data(), static_cast<int>(sketches.size()),
                         scores + limits.num_first, n);
  const int64_t num_sketches = n - limits.num_first - limits.num_last;
  kv.CountSketchBytes(num_sketches * kernels::KeySketchBytes(shape.head_dim));
}

// Leaves the mass of the n tokens of `found`, numbered as they come, in work->mass.
void FindMass(const KvReader& kv, const SequenceShape& shape, const float* query,
              const std::vector<PositionRange>& found, const TokenLimits& limits, int n,
              std::span<const kernels::SketchRun> sketches, Workspace* work) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  work->query.assign(query, query + int64_t{shape.group_size} * shape.head_dim);
  for (float& x : work->query) x *= scale;
  work->scores.resize(int64_t{shape.group_size} * n);
  if (sketches.empty()) {
    kv.ScoreKeys(work->query.data(), shape.group_size, found, work->scores.data(), n);
  } else {
    ScoreBySketches(kv, shape, found, limits, n, sketches, work);
  }
  work->mass.resize(n);
  kernels::GroupSum(n, shape.group_size, work->scores.data(), n, work->mass.data());
}

// The numbers of the `most` entries with most mass among those with `least` or more, ascending;
// equal ones: the earlier first.
void ChooseMost(std::span<const float> mass, int most, float least, std::vector<int32_t>* chosen) {
  const kernels::FlushDenormals flush;  // masses compare here as they do in FindCut
  const int n = static_cast<int>(mass.size());
  const auto take_from = [&](float cut) {
    chosen->resize(n);
    chosen->resize(kernels::EntriesFrom(mass.data(), n, cut, chosen->data()));
  };
  take_from(least);
  if (static_cast<int>(chosen->size()) <= most) return;
  const kernels::KeyCut cut =
      kernels::FindCut(mass.data(), /*weights=*/nullptr, n, static_cast<float>(most));
  take_from(cut.key);
  int left = most - static_cast<int>(cut.weight_above);  // for the entries with the cut's mass
  std::erase_if(*chosen, [&](int32_t i) {
    return std::min(std::numeric_limits<float>::max(), mass[i]) == cut.key && left-- <= 0;
  });
}

}  // namespace

void ChooseTokens(const KvReader& kv, const SequenceShape& shape, const float* query,
                  const std::vector<PositionRange>& found, const TokenLimits& limits,
                  std::span<const kernels::SketchRun> sketches,
                  std::vector<PositionRange>* attended) {
  int n = 0;
  for (const PositionRange& range : found) n += range.end - range.begin;
  const int num_first = limits.num_first, num_rest = n - num_first - limits.num_last;
  if (num_rest <= limits.most) {
    for (const PositionRange& range : found) AppendRange(range, attended);
    return;
  }
  Workspace& work = ThreadWorkspace();
  work.chosen.clear();
  if (limits.most > 0) {
    FindMass(kv, shape, query, found, limits, n, sketches, &work);
    const float mean = static_cast<float>(shape.group_size) / static_cast<float>(n);
    ChooseMost(std::span(work.mass).subspan(num_first, num_rest), limits.most,
               limits.least_of_mean * mean, &work.chosen);
  }
  auto chosen = work.chosen.begin();
  int number = -num_first;  // of the range's first token, counted from the first of the rest
  for (const PositionRange& range : found) {
    const int shift = range.begin - number, end = range.end - shift;
    if (number < 0) AppendRange({range.begin, std::min(end, 0) + shift}, attended);
    for (; chosen != work.chosen.end() && *chosen < end; ++chosen) {
      AppendRange({*chosen + shift, *chosen + shift + 1}, attended);
    }
    if (end > num_rest) AppendRange({std::max(number, num_rest) + shift, range.end}, attended);
    number = end;
  }
}

}  // namespace skv::policy
