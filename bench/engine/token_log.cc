#include "bench/engine/token_log.h"

#include <algorithm>

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

double MedianGapSeconds(const std::vector<TimePoint>& times) {
  std::vector<double> gaps;
  for (size_t i = 1; i < times.size(); ++i) gaps.push_back(ToSeconds(times[i] - times[i - 1]));
  if (gaps.empty()) return 0;
  std::nth_element(gaps.begin(), gaps.begin() + gaps.size() / 2, gaps.end());
  return gaps[gaps.size() / 2];
}

nlohmann::json KvUseReply(const policy::KvUse& use) {
  return {{"kv_positions", use.positions},
          {"kv_attended", use.attended},
          {"kv_visible", use.visible},
          {"kv_scanned", use.scanned},
          {"kv_index_bytes", use.index_bytes}};
}

}  // namespace skv::bench
