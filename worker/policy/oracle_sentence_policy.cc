#include "worker/policy/oracle_sentence_policy.h"

#include <vector>

#include "worker/policy/position_ranges.h"
#include "worker/policy/sentence_choice.h"
#include "worker/policy/sentence_mass.h"

namespace skv::policy {
namespace {

enum class Order { kMass, kMassPerToken };

class OracleSentencePolicy : public KvPolicy {
 public:
  OracleSentencePolicy(int budget, const SequenceShape& shape,
                       const std::vector<Sentence>* sentences, Order order)
      : split_(budget), shape_(shape), sentences_(sentences), order_(order) {}

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
    const SentenceView sentences = ViewSentences(mass, *sentences_, split_);
    AppendRange({0, split_.start}, attended);
    AppendChosen(sentences, attended);
    AppendRange({num_visible - sentences.recent, num_visible}, attended);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>* sentences) const override {
    return std::make_unique<OracleSentencePolicy>(split_.budget, shape_, sentences, order_);
  }

  size_t index_bytes() const override { return 0; }

 private:
  void AppendChosen(const SentenceView& view, std::vector<PositionRange>* attended) const {
    const int budget = split_.budget - split_.start - view.recent;
    if (budget == 0) return;
    std::vector<PositionRange> ranges, chosen;
    std::vector<float> keys;
    for (const auto& [range, mass] : view.sentences) {
      const int divisor = order_ == Order::kMass ? 1 : range.end - range.begin;
      ranges.push_back(range);
      keys.push_back(static_cast<float>(mass / divisor));
    }
    ChooseSentences(ranges, keys, budget, &chosen);
    for (const PositionRange& range : chosen) AppendRange(range, attended);
  }

  const BudgetSplit split_;
  const SequenceShape shape_;
  const std::vector<Sentence>* const sentences_;
  const Order order_;
};

}  // namespace

std::unique_ptr<KvPolicy> CreateOracleSentencePolicy(const PolicyParams& params,
                                                     const SequenceShape& shape,
                                                     const std::vector<Sentence>* sentences) {
  return std::make_unique<OracleSentencePolicy>(params.budget_tokens, shape, sentences,
                                                Order::kMass);
}

std::unique_ptr<KvPolicy> CreateOracleSentencePerTokenPolicy(
    const PolicyParams& params, const SequenceShape& shape,
    const std::vector<Sentence>* sentences) {
  return std::make_unique<OracleSentencePolicy>(params.budget_tokens, shape, sentences,
                                                Order::kMassPerToken);
}

}  // namespace skv::policy
