#pragma once
// What came of one stream, and when.

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "bench/engine/step_gate.h"
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
  TokenLog() = default;
  // Of the stream of this number: each token passes the gate, and the end releases it.
  TokenLog(std::shared_ptr<StepGate> gate, int stream) : gate_(std::move(gate)), stream_(stream) {}

  // Whether the stream shall go on.
  bool Add(TokenId id, float margin);
  // `kv_use`: what its generated positions read, zeros where the target does not tell.
  void Finish(const absl::Status& status, const policy::KvUse& kv_use = {});

  // Waits (30 minutes at most) for the end of the stream; its status.
  absl::Status WaitForFinish();
  // REQUIRES: finished with at least one token.
  std::vector<TimedToken> tokens() const;
  policy::KvUse kv_use() const;

 private:
  const std::shared_ptr<StepGate> gate_;
  const int stream_ = 0;
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<TimedToken> tokens_ SKV_GUARDED_BY(mutex_);
  bool finished_ SKV_GUARDED_BY(mutex_) = false;
  absl::Status status_ SKV_GUARDED_BY(mutex_);
  policy::KvUse kv_use_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::bench
