#pragma once
// How `sentencekv`, and the selections that it is compared with, divide a budget of tokens.

#include <algorithm>
#include <span>

#include "worker/policy/sentence.h"

namespace skv::policy {

struct BudgetSplit {
  explicit BudgetSplit(int budget)
      : budget(budget), start(std::min(32, budget / 8)), recent(std::min(32, budget / 4)) {}

  // How many of the last of `num_visible` tokens are attended when these sentences are known: what
  // follows the last one as well, as far as the start leaves room.
  int RecentBehind(std::span<const Sentence> known, int num_visible) const {
    const int num_unfinished = num_visible - (known.empty() ? 0 : known.back().end);
    return std::min(std::max(recent, num_unfinished), budget - start);
  }

  int budget;
  int start;   // first tokens that are attended
  int recent;  // last tokens that are attended, at least
};

}  // namespace skv::policy
