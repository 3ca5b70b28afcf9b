#include "worker/policy/full_policy.h"

namespace skv::policy {
namespace {

class FullPolicy : public KvPolicy {
 public:
  bool attends_all() const override { return true; }
  void OnPrompt(const HeadView&, const QueryRows&) override {}
  void Select(const HeadView&, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    attended->push_back({0, query.first_position + 1});
  }
  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>*) const override {
    return std::make_unique<FullPolicy>();
  }
  size_t index_bytes() const override { return 0; }
};

}  // namespace

std::unique_ptr<KvPolicy> CreateFullPolicy(const PolicyParams&, const SequenceShape&,
                                           const std::vector<Sentence>*) {
  return std::make_unique<FullPolicy>();
}

}  // namespace skv::policy
