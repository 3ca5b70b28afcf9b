#include "worker/policy/oracle_topk_policy.h"

#include <cstdint>
#include <vector>

#include "worker/policy/attention_mass.h"
#include "worker/policy/budget_split.h"
#include "worker/policy/largest_scores.h"
#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

class OracleTopKPolicy : public KvPolicy {
 public:
  OracleTopKPolicy(int budget, const SequenceShape& shape) : split_(budget), shape_(shape) {}

  void OnPrompt(const HeadView&, const QueryRows&) override {}

  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const int num_visible = query.first_position + 1;
    if (num_visible <= split_.budget) {
      attended->push_back({0, num_visible});
      return;
    }
    AttentionMass mass;
    ComputeAttentionMass(*view.kv, query.data, num_visible, shape_.group_size, shape_.head_dim,
                         &mass);
    const PositionRange between = {split_.start, num_visible - split_.recent};
    const std::vector<float> scores(mass.group_mass.begin() + between.begin,
                                    mass.group_mass.begin() + between.end);
    AppendRange({0, between.begin}, attended);
    for (const int32_t i : LargestScores(scores, split_.budget - split_.start - split_.recent)) {
      AppendRange({between.begin + i, between.begin + i + 1}, attended);
    }
    AppendRange({between.end, num_visible}, attended);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>*) const override {
    return std::make_unique<OracleTopKPolicy>(split_.budget, shape_);
  }

  size_t index_bytes() const override { return 0; }

 private:
  const BudgetSplit split_;
  const SequenceShape shape_;
};

}  // namespace

std::unique_ptr<KvPolicy> CreateOracleTopKPolicy(const PolicyParams& params,
                                                 const SequenceShape& shape,
                                                 const std::vector<Sentence>*) {
  return std::make_unique<OracleTopKPolicy>(params.budget_tokens, shape);
}

}  // namespace skv::policy
