#include "worker/policy/random_policy.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "worker/policy/budget_split.h"
#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

class RandomPolicy : public KvPolicy {
 public:
  RandomPolicy(int budget, const SequenceShape& shape, const std::vector<Sentence>* sentences)
      : split_(budget), shape_(shape), sentences_(sentences) {}

  void OnPrompt(const HeadView&, const QueryRows&) override {}

  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const int position = query.first_position, num_visible = position + 1;
    if (num_visible <= split_.budget) {
      attended->push_back({0, num_visible});
      return;
    }
    const int recent = split_.RecentBehind(KnownSentences(*sentences_, position), num_visible);
    const uint64_t seed = uint64_t(position) * shape_.num_layers + view.layer;
    AppendRange({0, split_.start}, attended);
    AppendDrawn({split_.start, num_visible - recent}, split_.budget - split_.start - recent, seed,
                attended);
    AppendRange({num_visible - recent, num_visible}, attended);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>* sentences) const override {
    return std::make_unique<RandomPolicy>(split_.budget, shape_, sentences);
  }

  size_t index_bytes() const override { return 0; }

 private:
  static void AppendDrawn(PositionRange range, int count, uint64_t seed,
                          std::vector<PositionRange>* attended) {
    std::mt19937_64 random(seed);
    std::vector<int> positions(range.end - range.begin);
    std::iota(positions.begin(), positions.end(), range.begin);
    for (int i = 0; i < count; ++i) {
      std::swap(positions[i], positions[i + random() % (positions.size() - i)]);
    }
    std::sort(positions.begin(), positions.begin() + count);
    for (int i = 0; i < count; ++i) AppendRange({positions[i], positions[i] + 1}, attended);
  }

  const BudgetSplit split_;
  const SequenceShape shape_;
  const std::vector<Sentence>* const sentences_;
};

}  // namespace

std::unique_ptr<KvPolicy> CreateRandomPolicy(const PolicyParams& params, const SequenceShape& shape,
                                             const std::vector<Sentence>* sentences) {
  return std::make_unique<RandomPolicy>(params.budget_tokens, shape, sentences);
}

}  // namespace skv::policy
