#include "router/balancer/round_robin.h"

#include <algorithm>
#include <utility>

namespace skv::router {
namespace {

class RoundRobinPicker : public Picker {
 public:
  explicit RoundRobinPicker(std::vector<Candidate> candidates)
      : candidates_(std::move(candidates)) {}

  std::optional<PickResult> Pick(const PickInput& input) const override {
    const size_t count = candidates_.size();
    for (size_t i = 0; i < count; ++i) {
      const GroupId id = candidates_[(input.sequence % count + i) % count].group_id;
      if (std::ranges::find(input.excluded, id) == input.excluded.end()) return PickResult{id};
    }
    return std::nullopt;
  }

 private:
  const std::vector<Candidate> candidates_;
};

}  // namespace

std::shared_ptr<const Picker> MakeRoundRobinPicker(std::vector<Candidate> candidates) {
  return std::make_shared<RoundRobinPicker>(std::move(candidates));
}

}  // namespace skv::router
