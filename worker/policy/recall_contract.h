#pragma once
// Keeps a floor under the attention mass that a sequence's selections hold (`min_recall`). Every
// selection is checked against full attention, so each costs reading all keys: a floor for quality,
// not a way to read less.
//
// One that holds less for any query head of its group attends, for this position alone, `budget`
// further tokens: those to which the heads that fall short give most. Where that is still too
// little, everything.

#include <cstdint>
#include <span>
#include <vector>

#include "worker/policy/attention_mass.h"
#include "worker/policy/kv_policy.h"

namespace skv::policy {

// Selections, each of one generated position, layer and KV head.
struct RecallCounts {
  int64_t checked = 0;
  int64_t widened = 0;  // of these: held too little, and attended more
  int64_t full = 0;     // of the widened: attended everything

  RecallCounts& operator+=(const RecallCounts& other) {
    checked += other.checked;
    widened += other.widened;
    full += other.full;
    return *this;
  }
  bool operator==(const RecallCounts&) const = default;
};

class RecallContract {
 public:
  // `min_recall` in (0, 1]: 1 leaves out only what has no mass in float32.
  RecallContract(const SequenceShape& shape, int budget, double min_recall);

  int budget() const { return budget_; }
  double min_recall() const { return min_recall_; }

  // Before a step: counts from 0. No Widen may run.
  void BeginStep() { counts_ = {}; }

  // True when `attended`, as KvPolicy::Select gives it for `query`, holds too little; then `wider`
  // is what is attended instead. A function of the query and the keys before it. Calls for
  // different layers and heads may run at once.
  bool Widen(const HeadView& view, const QueryRows& query, std::span<const PositionRange> attended,
             std::vector<PositionRange>* wider);

  // After the step, over the layers and KV heads of this rank.
  const RecallCounts& step_counts() const { return counts_; }

 private:
  std::vector<int> HeadsThatFallShort(const AttentionMass& mass,
                                      std::span<const PositionRange> attended) const;

  const SequenceShape shape_;
  const int budget_;
  const double min_recall_;
  RecallCounts counts_;  // all heads add to it, in whichever order
};

}  // namespace skv::policy
