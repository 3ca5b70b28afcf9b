#include "bench/engine/step_gate.h"

namespace skv::bench {
namespace {

constexpr auto kPatience = std::chrono::minutes(60);   // 32K tokens on a slow machine
constexpr auto kLongestHold = std::chrono::hours(12);  // while others are filled and measured

}  // namespace

StepGate::StepGate(int num_streams)
    : has_token_(num_streams, false), num_without_token_(num_streams) {}

bool StepGate::Pass(int stream) {
  const TimePoint now = RealClock().Now();
  MutexLock lock(&mutex_);
  if (!has_token_[stream]) {
    has_token_[stream] = true;
    if (--num_without_token_ == 0) last_stream_ = stream;
  } else if (stream == last_stream_) {
    --num_allowed_;
    times_.push_back(now);
  }
  if (stream == last_stream_ && num_allowed_ == 0) {
    held_ = true;
    changed_.NotifyAll();
    const bool asked = changed_.WaitUntil(&mutex_, RealClock().Now() + kLongestHold,
                                          [&] { return num_allowed_ > 0 || released_; });
    held_ = false;
    released_ = released_ || !asked;
  }
  return !released_;
}

void StepGate::Release() {
  MutexLock lock(&mutex_);
  released_ = true;
  changed_.NotifyAll();
}

absl::Status StepGate::WaitUntilHeldLocked() {
  const bool in_time = changed_.WaitUntil(&mutex_, RealClock().Now() + kPatience,
                                          [&] { return held_ || released_; });
  if (!in_time) return absl::DeadlineExceededError("the engine was not held within an hour");
  return released_ ? absl::AbortedError("a stream has ended") : absl::OkStatus();
}

absl::Status StepGate::WaitUntilHeld() {
  MutexLock lock(&mutex_);
  return WaitUntilHeldLocked();
}

absl::Status StepGate::Continue(int num_steps, std::vector<TimePoint>* times) {
  MutexLock lock(&mutex_);
  if (const absl::Status status = WaitUntilHeldLocked(); !status.ok()) return status;
  times_ = {RealClock().Now()};
  num_allowed_ = num_steps;
  held_ = false;
  changed_.NotifyAll();
  const absl::Status status = WaitUntilHeldLocked();
  *times = times_;
  return status;
}

}  // namespace skv::bench
