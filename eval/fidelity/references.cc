#include "eval/fidelity/references.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace skv::eval {
namespace {

using policy::PositionRange;

std::vector<PositionRange> MarkedRanges(const std::vector<char>& marked) {
  std::vector<PositionRange> ranges;
  for (int i = 0; i < static_cast<int>(marked.size()); ++i) {
    if (!marked[i]) continue;
    if (ranges.empty() || ranges.back().end != i) ranges.push_back({i, i});
    ++ranges.back().end;
  }
  return ranges;
}

// One mark an entry, with the start and the last `recent` ones set.
std::vector<char> MarkEnds(int num_visible, int start, int recent) {
  std::vector<char> marked(num_visible, 0);
  std::fill_n(marked.begin(), start, 1);
  std::fill_n(marked.end() - recent, recent, 1);
  return marked;
}

// Positions between the start and the recent tokens.
std::vector<int> Between(int num_visible, const BudgetSplit& split) {
  std::vector<int> positions(num_visible - split.start - split.recent);
  std::iota(positions.begin(), positions.end(), split.start);
  return positions;
}

}  // namespace

BudgetSplit::BudgetSplit(int budget)
    : budget(budget), start(std::min(32, budget / 8)), recent(std::min(32, budget / 4)) {}

SentenceView ViewSentences(const TrueAttention& truth, std::span<const policy::Sentence> sentences,
                           const BudgetSplit& split) {
  const int position = truth.num_visible - 1;
  const auto end = std::ranges::upper_bound(sentences, position, {}, &policy::Sentence::known_at);
  const auto known = sentences.first(end - sentences.begin());
  const int unfinished = truth.num_visible - (known.empty() ? 0 : known.back().end);
  SentenceView view;
  view.recent = std::min(std::max(split.recent, unfinished), split.budget - split.start);
  for (const policy::Sentence& sentence : known) {
    const PositionRange range = {std::max(sentence.begin, split.start),
                                 std::min(sentence.end, truth.num_visible - view.recent)};
    if (range.begin < range.end) view.sentences.push_back({range, truth.MassOf(range)});
  }
  return view;
}

std::vector<PositionRange> OracleTopK(const TrueAttention& truth, const BudgetSplit& split) {
  const int n = truth.num_visible;
  if (n <= split.budget) return {{0, n}};
  std::vector<char> marked = MarkEnds(n, split.start, split.recent);
  std::vector<int> positions = Between(n, split);
  const int count = split.budget - split.start - split.recent;
  const auto larger = [&](int a, int b) {
    const float x = truth.group_mass[a], y = truth.group_mass[b];
    return x != y ? x > y : a < b;
  };
  std::nth_element(positions.begin(), positions.begin() + count, positions.end(), larger);
  for (int i = 0; i < count; ++i) marked[positions[i]] = 1;
  return MarkedRanges(marked);
}

std::vector<PositionRange> OracleSentence(const TrueAttention& truth, const SentenceView& view,
                                          const BudgetSplit& split, SentenceOrder order) {
  const int n = truth.num_visible;
  if (n <= split.budget) return {{0, n}};
  const auto key = [&](int i) {
    const SentenceMass& sentence = view.sentences[i];
    const int length = sentence.range.end - sentence.range.begin;
    return order == SentenceOrder::kMass ? sentence.mass : sentence.mass / length;
  };
  std::vector<int> ranking(view.sentences.size());
  std::iota(ranking.begin(), ranking.end(), 0);
  std::ranges::stable_sort(ranking, std::ranges::greater(), key);
  std::vector<char> marked = MarkEnds(n, split.start, view.recent);
  int left = split.budget - split.start - view.recent;
  for (const int i : ranking) {
    const PositionRange range = view.sentences[i].range;
    const int count = std::min(left, range.end - range.begin);
    std::fill_n(marked.begin() + range.begin, count, 1);
    left -= count;
  }
  return MarkedRanges(marked);
}

std::vector<PositionRange> RandomEntries(uint64_t seed, int num_visible, const BudgetSplit& split) {
  if (num_visible <= split.budget) return {{0, num_visible}};
  std::mt19937_64 random(seed);
  std::vector<char> marked = MarkEnds(num_visible, split.start, split.recent);
  std::vector<int> positions = Between(num_visible, split);
  const int count = split.budget - split.start - split.recent;
  for (int i = 0; i < count; ++i) {
    std::swap(positions[i], positions[i + random() % (positions.size() - i)]);
    marked[positions[i]] = 1;
  }
  return MarkedRanges(marked);
}

}  // namespace skv::eval
