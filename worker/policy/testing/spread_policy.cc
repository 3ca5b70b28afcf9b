#include "worker/policy/testing/spread_policy.h"

#include <algorithm>

#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

class SpreadPolicy : public KvPolicy {
 public:
  explicit SpreadPolicy(int budget) : budget_(budget) {}

  void OnPrompt(const HeadView&, const QueryRows&) override {}

  void Select(const HeadView&, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const int end = query.first_position + 1;
    const int num_spread = std::min(budget_, end) / 2;
    const int recent_begin = end - (std::min(budget_, end) - num_spread);
    for (int64_t i = 0; i < num_spread; ++i) {
      const int position = static_cast<int>(i * recent_begin / num_spread);
      AppendRange({position, position + 1}, attended);
    }
    AppendRange({recent_begin, end}, attended);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>*) const override {
    return std::make_unique<SpreadPolicy>(budget_);
  }

  size_t index_bytes() const override { return 0; }

 private:
  const int budget_;
};

}  // namespace

std::unique_ptr<KvPolicy> CreateSpreadPolicy(const PolicyParams& params, const SequenceShape&,
                                             const std::vector<Sentence>*) {
  return std::make_unique<SpreadPolicy>(params.budget_tokens);
}

}  // namespace skv::policy
