#pragma once
// Which sentences a budget of tokens buys.

#include <span>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// Appends, in order, the tokens of the sentences with the largest keys (equal ones: the smaller
// index first) until they are `budget` tokens. Sentences are taken whole but for the last, which is
// cut at its end so that the budget is filled exactly, or until there are no more.
//   sentences  sorted and disjoint; empty ones are allowed
//   keys       [sentences.size()], not negative; a NaN is taken as the largest
//   REQUIRES: budget > 0
void ChooseSentences(std::span<const PositionRange> sentences, std::span<const float> keys,
                     int budget, std::vector<PositionRange>* chosen);

}  // namespace skv::policy
