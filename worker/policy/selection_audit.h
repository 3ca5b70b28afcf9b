#pragma once
// What the selections of one sequence miss of full attention, at a share of its generated
// positions. Costs two to three times full attention at these, nothing at others.

#include <cstdint>
#include <span>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// Of one query head at one position and layer.
struct AuditSample {
  float recall;        // share of full attention's mass that the selection holds
  float output_error;  // |o - full| / |full| of the attention outputs, o over the selection
};

class SelectionAudit {
 public:
  // Which positions are measured is drawn from `key` and the position alone.
  SelectionAudit(const SequenceShape& shape, double fraction, uint64_t key);

  // Before a step that computes generated positions [first_position, first_position + num_rows):
  // what an earlier step measured is forgotten. No Measure may run.
  void BeginStep(int first_position, int num_rows);

  // `attended`, as KvPolicy::Select gives it, for one of these positions. Calls for different
  // layers and heads may run at once.
  void Measure(const HeadView& view, const QueryRows& query,
               std::span<const PositionRange> attended);

  // After the step: [measured positions, layers, query heads of this rank].
  std::span<const AuditSample> step_samples() const { return samples_; }

 private:
  const SequenceShape shape_;
  const double fraction_;
  const uint64_t key_;
  std::vector<int> positions_;  // that this step measures, ascending
  std::vector<AuditSample> samples_;
};

}  // namespace skv::policy
