#pragma once
// Holds an engine between two of its steps. Streams tell it their tokens from the one thread that
// steps the engine; that thread waits in it.

#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace skv::bench {

// Once every stream has its first token, the thread is held after each token of the stream that was
// last to have one, until Continue asks for more. Between two holds each stream gets as many
// tokens. Thread-safe.
class StepGate {
 public:
  explicit StepGate(int num_streams);

  // Stream number `stream` has a token; waits while the engine is held, 12 hours at most. Whether
  // the stream shall go on.
  bool Pass(int stream);
  // A stream has ended: nothing is held any more.
  void Release();

  // Waits (an hour at most) until the engine is held. Aborted: released.
  absl::Status WaitUntilHeld();
  // Lets the held engine do `num_steps` steps: when it was let go, and when each step's last token
  // came. Errors of WaitUntilHeld.
  absl::Status Continue(int num_steps, std::vector<TimePoint>* times);

 private:
  absl::Status WaitUntilHeldLocked() SKV_REQUIRES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::vector<bool> has_token_ SKV_GUARDED_BY(mutex_);
  int num_without_token_ SKV_GUARDED_BY(mutex_);
  int last_stream_ SKV_GUARDED_BY(mutex_) = -1;  // to have its first token
  int num_allowed_ SKV_GUARDED_BY(mutex_) = 0;   // further tokens of it
  bool held_ SKV_GUARDED_BY(mutex_) = false;
  bool released_ SKV_GUARDED_BY(mutex_) = false;
  std::vector<TimePoint> times_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::bench
