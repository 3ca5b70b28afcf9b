#include "worker/policy/sentence_mass.h"

#include <algorithm>

namespace skv::policy {

SentenceView ViewSentences(const AttentionMass& mass, std::span<const Sentence> sentences,
                           const BudgetSplit& split) {
  const auto known = KnownSentences(sentences, mass.num_visible - 1);
  SentenceView view;
  view.recent = split.RecentBehind(known, mass.num_visible);
  for (const Sentence& sentence : known) {
    const PositionRange range = {std::max(sentence.begin, split.start),
                                 std::min(sentence.end, mass.num_visible - view.recent)};
    if (range.begin < range.end) view.sentences.push_back({range, mass.MassOf(range)});
  }
  return view;
}

}  // namespace skv::policy
