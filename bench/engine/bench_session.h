#pragma once
// The bench protocol (bench/peers/PROTOCOL.md) over anything that streams tokens.

#include <iosfwd>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/engine/token_log.h"
#include "common/types.h"

namespace skv::bench {

class BenchTarget {
 public:
  virtual ~BenchTarget() = default;
  virtual nlohmann::json Info() const = 0;
  // Begins one greedy stream that ignores end-of-text tokens.
  virtual absl::Status Start(const std::vector<TokenId>& prompt, int max_tokens,
                             std::shared_ptr<TokenLog> stream) = 0;
  // Runs one such stream alone; the reply to `memory`, as of its last token. Unimplemented: the
  // target does not tell.
  virtual absl::StatusOr<nlohmann::json> Memory(const std::vector<TokenId>& prompt, int max_tokens);
};

// Answers requests until the end of `in`.
void ServeBenchProtocol(BenchTarget* target, std::istream& in, std::ostream& out);

}  // namespace skv::bench
