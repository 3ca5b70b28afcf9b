#pragma once
// Selections that policies are compared with: oracles that know the true attention, and chance. All
// hold the start and the recent tokens that a policy of the same budget must hold, and attend
// `budget` entries, or everything when that is no more. Pure.

#include <cstdint>
#include <span>
#include <vector>

#include "eval/fidelity/true_attention.h"
#include "worker/policy/kv_policy.h"
#include "worker/policy/sentence.h"

namespace skv::eval {

// The part of a budget that every policy spends alike.
struct BudgetSplit {
  explicit BudgetSplit(int budget);
  int budget;
  int start;   // first tokens
  int recent;  // last tokens, at least
};

struct SentenceMass {
  policy::PositionRange range;  // not empty
  double mass;                  // of the group
};

// What a sentence selection can choose from for the query at position num_visible - 1.
struct SentenceView {
  int recent;  // split.recent, or the unfinished sentence where that is longer
  // The parts of known sentences that lie between the start and the recent tokens, in order.
  std::vector<SentenceMass> sentences;
};
SentenceView ViewSentences(const TrueAttention& truth, std::span<const policy::Sentence> sentences,
                           const BudgetSplit& split);

// The entries of largest group mass; ties towards the smaller position.
std::vector<policy::PositionRange> OracleTopK(const TrueAttention& truth, const BudgetSplit& split);

enum class SentenceOrder { kMass, kMassPerToken };
// Whole sentences of largest true mass, or mass per token; the last is cut at its end.
std::vector<policy::PositionRange> OracleSentence(const TrueAttention& truth,
                                                  const SentenceView& view,
                                                  const BudgetSplit& split, SentenceOrder order);

// Entries drawn without replacement; the same seed draws the same.
std::vector<policy::PositionRange> RandomEntries(uint64_t seed, int num_visible,
                                                 const BudgetSplit& split);

}  // namespace skv::eval
