#include "worker/policy/full_policy.h"

namespace skv::policy {
namespace {

class FullPolicy : public KvPolicy {
 public:
  std::string name() const override { return "full"; }
  bool attends_all() const override { return true; }
  void OnPromptEnd(int) override {}
  void OnAppend(int, int) override {}
  void Select(int, int, int num_visible, std::vector<PositionRange>* attended) override {
    attended->push_back({0, num_visible});
  }
};

}  // namespace

std::unique_ptr<KvPolicy> CreateFullPolicy() { return std::make_unique<FullPolicy>(); }

}  // namespace skv::policy
