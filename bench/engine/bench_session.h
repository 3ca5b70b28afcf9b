#pragma once
// The bench protocol (bench/peers/PROTOCOL.md) over anything that streams tokens.

#include <iosfwd>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/types.h"
#include "worker/policy/kv_use.h"

namespace skv::bench {

// One token of a stream, as it came.
struct TimedToken {
  TimePoint time;
  TokenId id;
  float margin;  // largest less second largest logit; 0 where the target does not tell
};

// The tokens of one stream and when they came. Thread-safe.
class TokenLog {
 public:
  void Add(TokenId id, float margin);
  // `kv_use`: what its generated positions read, zeros where the target does not tell.
  void Finish(const absl::Status& status, const policy::KvUse& kv_use = {});

  // Waits (30 minutes at most) for the end of the stream; its status.
  absl::Status WaitForFinish();
  // REQUIRES: finished with at least one token.
  std::vector<TimedToken> tokens() const;
  policy::KvUse kv_use() const;

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<TimedToken> tokens_ SKV_GUARDED_BY(mutex_);
  bool finished_ SKV_GUARDED_BY(mutex_) = false;
  absl::Status status_ SKV_GUARDED_BY(mutex_);
  policy::KvUse kv_use_ SKV_GUARDED_BY(mutex_);
};

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
