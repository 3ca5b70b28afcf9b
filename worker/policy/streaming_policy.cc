#include "worker/policy/streaming_policy.h"

#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

constexpr int kSinks = 4;

class StreamingPolicy : public KvPolicy {
 public:
  explicit StreamingPolicy(int budget) : budget_(budget) {}

  void OnPrompt(const HeadView&, const QueryRows&) override {}

  void Select(const HeadView&, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const int num_visible = query.first_position + 1;
    if (num_visible <= budget_) {
      attended->push_back({0, num_visible});
      return;
    }
    AppendRange({0, kSinks}, attended);
    AppendRange({num_visible - (budget_ - kSinks), num_visible}, attended);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>*) const override {
    return std::make_unique<StreamingPolicy>(budget_);
  }

  size_t index_bytes() const override { return 0; }

 private:
  const int budget_;
};

}  // namespace

std::unique_ptr<KvPolicy> CreateStreamingPolicy(const PolicyParams& params, const SequenceShape&,
                                                const std::vector<Sentence>*) {
  return std::make_unique<StreamingPolicy>(params.budget_tokens);
}

}  // namespace skv::policy
