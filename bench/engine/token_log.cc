#include "bench/engine/token_log.h"

namespace skv::bench {
namespace {

constexpr auto kPatience = std::chrono::minutes(30);  // 32K tokens on a slow machine

}  // namespace

bool TokenLog::Add(TokenId id, float margin) {
  const TimePoint now = RealClock().Now();
  {
    MutexLock lock(&mutex_);
    tokens_.push_back({now, id, margin});
  }
  return gate_ == nullptr || gate_->Pass(stream_);
}

void TokenLog::Finish(const absl::Status& status, const policy::KvUse& kv_use) {
  if (gate_ != nullptr) gate_->Release();
  MutexLock lock(&mutex_);
  finished_ = true;
  status_ = status;
  kv_use_ = kv_use;
  changed_.NotifyAll();
}

absl::Status TokenLog::WaitForFinish() {
  MutexLock lock(&mutex_);
  if (!changed_.WaitUntil(&mutex_, RealClock().Now() + kPatience, [&] { return finished_; })) {
    return absl::DeadlineExceededError("a stream did not end within 30 minutes");
  }
  return status_;
}

std::vector<TimedToken> TokenLog::tokens() const {
  MutexLock lock(&mutex_);
  return tokens_;
}

policy::KvUse TokenLog::kv_use() const {
  MutexLock lock(&mutex_);
  return kv_use_;
}

}  // namespace skv::bench
