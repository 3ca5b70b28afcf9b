#include "worker/policy/token_choice.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include "kernels/selection.h"
#include "worker/policy/position_ranges.h"
#include "worker/policy/sentence_choice.h"

namespace skv::policy {
namespace {

// A thread keeps one for all heads: nothing is allocated.
struct Workspace {
  std::vector<float> query;   // [group_size, head_dim], scaled as attention scales it
  std::vector<float> keys;    // [kPiece, head_dim]
  std::vector<float> scores;  // [group_size, tokens]
  std::vector<float> mass;
  std::vector<PositionRange> tokens, chosen;
};

Workspace& ThreadWorkspace() {
  thread_local Workspace workspace;
  return workspace;
}

// Leaves the mass of work->tokens, numbered as they come, in work->mass.
void FindMass(const KvReader& kv, const SequenceShape& shape, const float* query,
              const std::vector<PositionRange>& found, Workspace* work) {
  constexpr int kPiece = 32;  // keys that stay in the nearest cache
  const int n = static_cast<int>(work->tokens.size()), head_dim = shape.head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  work->query.assign(query, query + int64_t{shape.group_size} * head_dim);
  for (float& x : work->query) x *= scale;
  work->keys.resize(int64_t{kPiece} * head_dim);
  work->scores.resize(int64_t{shape.group_size} * n);
  float* scores = work->scores.data();
  for (const PositionRange& range : found) {
    for (int begin = range.begin; begin < range.end; begin += kPiece) {
      const int end = std::min(begin + kPiece, range.end);
      kv.ReadKeys(begin, end, work->keys.data());
      kernels::ScoreRows(work->query.data(), head_dim, shape.group_size, head_dim,
                         work->keys.data(), end - begin, scores, n);
      scores += end - begin;
    }
  }
  work->mass.resize(n);
  kernels::GroupSum(n, shape.group_size, work->scores.data(), n, work->mass.data());
}

}  // namespace

void ChooseTokens(const KvReader& kv, const SequenceShape& shape, const float* query,
                  const std::vector<PositionRange>& found, int num_first, int num_last, int budget,
                  std::vector<PositionRange>* attended) {
  Workspace& work = ThreadWorkspace();
  work.tokens.clear();
  for (const PositionRange& range : found) {
    for (int t = range.begin; t < range.end; ++t) work.tokens.push_back({t, t + 1});
  }
  const int num_rest = static_cast<int>(work.tokens.size()) - num_first - num_last;
  if (num_rest <= budget) {
    for (const PositionRange& range : found) AppendRange(range, attended);
    return;
  }
  FindMass(kv, shape, query, found, &work);
  const auto rest = work.tokens.begin() + num_first, last = work.tokens.end() - num_last;
  for (auto token = work.tokens.begin(); token != rest; ++token) AppendRange(*token, attended);
  if (budget > 0) {
    work.chosen.clear();
    ChooseSentences({rest, last}, std::span(work.mass).subspan(num_first, num_rest), budget,
                    &work.chosen);
    for (const PositionRange& token : work.chosen) AppendRange(token, attended);
  }
  for (auto token = last; token != work.tokens.end(); ++token) AppendRange(*token, attended);
}

}  // namespace skv::policy
