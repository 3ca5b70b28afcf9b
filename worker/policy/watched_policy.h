#pragma once
// A policy with what looks at its selections. They stay what the policy says unless a contract
// widens them; each watch that is on measures what is attended in the end.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "worker/policy/kv_policy.h"
#include "worker/policy/read_watch.h"
#include "worker/policy/recall_contract.h"
#include "worker/policy/selection_audit.h"

namespace skv::policy {

class WatchedPolicy : public KvPolicy {
 public:
  WatchedPolicy(std::unique_ptr<KvPolicy> policy, const SequenceShape& shape);

  // Before the sequence's first step.
  void KeepRecall(int budget, double min_recall);
  // Before the sequence's first step. `sentence_ends`: see ReadWatch.
  void WatchReads(std::vector<int> sentence_ends);
  // Before the sequence's first generated position; a fork is not audited until it is told to.
  // `fraction` and `key`: see SelectionAudit.
  void Audit(double fraction, uint64_t key);

  // Before a step that computes generated positions [first_position, first_position + num_rows):
  // what an earlier step measured is forgotten. No call of the model may run.
  void BeginStep(int first_position, int num_rows);

  // Null where it is not on.
  const RecallContract* contract() const { return contract_ ? &*contract_ : nullptr; }
  const ReadWatch* reads() const { return reads_ ? &*reads_ : nullptr; }
  const SelectionAudit* audit() const { return audit_ ? &*audit_ : nullptr; }

  void OnPrompt(const HeadView& view, const QueryRows& queries) override;
  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override;
  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>* sentences) const override;
  size_t index_bytes() const override { return policy_->index_bytes(); }
  size_t sketch_bytes() const override { return policy_->sketch_bytes(); }

 private:
  const std::unique_ptr<KvPolicy> policy_;
  const SequenceShape shape_;
  std::optional<RecallContract> contract_;
  std::optional<ReadWatch> reads_;
  std::optional<SelectionAudit> audit_;
};

}  // namespace skv::policy
