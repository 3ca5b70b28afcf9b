#pragma once
// What full attention gives the sentences that one query can choose from.

#include <span>
#include <vector>

#include "worker/policy/attention_mass.h"
#include "worker/policy/budget_split.h"
#include "worker/policy/kv_policy.h"
#include "worker/policy/sentence.h"

namespace skv::policy {

struct SentenceMass {
  PositionRange range;  // not empty
  double mass;          // of the group
};

// What a sentence selection can choose from for the query at position num_visible - 1.
struct SentenceView {
  int recent;  // split.recent, or the unfinished sentence where that is longer
  // The parts of known sentences that lie between the start and the recent tokens, in order.
  std::vector<SentenceMass> sentences;
};
SentenceView ViewSentences(const AttentionMass& mass, std::span<const Sentence> sentences,
                           const BudgetSplit& split);

}  // namespace skv::policy
