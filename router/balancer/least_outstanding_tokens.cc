#include "router/balancer/least_outstanding_tokens.h"

#include <algorithm>
#include <utility>

namespace skv::router {
namespace {

class LeastOutstandingTokensPicker : public Picker {
 public:
  explicit LeastOutstandingTokensPicker(std::vector<Candidate> candidates)
      : candidates_(std::move(candidates)) {}

  std::optional<PickResult> Pick(const PickInput& input) const override {
    std::optional<PickResult> best;
    int64_t best_tokens = 0;
    const size_t count = candidates_.size();
    for (size_t i = 0; i < count; ++i) {
      const Candidate& candidate = candidates_[(input.sequence % count + i) % count];
      if (std::ranges::find(input.excluded, candidate.group_id) != input.excluded.end()) continue;
      const int64_t tokens = EstimateOutstandingTokens(candidate);
      if (best.has_value() && tokens >= best_tokens) continue;
      best = PickResult{candidate.group_id};
      best_tokens = tokens;
    }
    return best;
  }

 private:
  const std::vector<Candidate> candidates_;
};

}  // namespace

std::shared_ptr<const Picker> MakeLeastOutstandingTokensPicker(std::vector<Candidate> candidates) {
  return std::make_shared<LeastOutstandingTokensPicker>(std::move(candidates));
}

}  // namespace skv::router
