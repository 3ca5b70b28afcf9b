#pragma once
// Streams that are prefilled once and then measured in pieces, so that others can take turns with
// them on one machine (`fill`, `continue` and `end` of bench/peers/PROTOCOL.md).

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/engine/step_gate.h"
#include "bench/engine/token_log.h"
#include "common/types.h"

namespace skv::bench {

class BenchTarget;

// Not thread-safe. One set of streams at a time: FailedPrecondition where there is one already, or
// none.
class HeldStreams {
 public:
  HeldStreams() = default;
  ~HeldStreams();
  HeldStreams(const HeldStreams&) = delete;
  HeldStreams& operator=(const HeldStreams&) = delete;

  // Each returns the reply to the request of its name. A stream has room for `max_tokens`, those
  // included that it gets while others are still prefilled.
  absl::StatusOr<nlohmann::json> Fill(BenchTarget* target,
                                      const std::vector<std::vector<TokenId>>& prompts,
                                      int max_tokens);
  absl::StatusOr<nlohmann::json> Continue(int num_steps);
  absl::StatusOr<nlohmann::json> End();

 private:
  std::shared_ptr<StepGate> gate_;  // null: no streams
  std::vector<std::shared_ptr<TokenLog>> streams_;
};

}  // namespace skv::bench
