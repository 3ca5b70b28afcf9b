#include "bench/engine/held_streams.h"

#include <algorithm>

#include "bench/engine/bench_session.h"
#include "common/status.h"

namespace skv::bench {
namespace {

// Median distance of neighbours; there are two at least.
double MedianGapSeconds(const std::vector<TimePoint>& times) {
  std::vector<double> gaps;
  for (size_t i = 1; i < times.size(); ++i) gaps.push_back(ToSeconds(times[i] - times[i - 1]));
  std::nth_element(gaps.begin(), gaps.begin() + gaps.size() / 2, gaps.end());
  return gaps[gaps.size() / 2];
}

nlohmann::json KvUseReply(const policy::KvUse& use) {
  return {{"kv_positions", use.positions},       {"kv_attended", use.attended},
          {"kv_visible", use.visible},           {"kv_scanned", use.scanned},
          {"kv_sketch_bytes", use.sketch_bytes}, {"kv_index_bytes", use.index_bytes}};
}

}  // namespace

HeldStreams::~HeldStreams() {
  if (gate_ != nullptr) gate_->Release();
}

absl::StatusOr<nlohmann::json> HeldStreams::Fill(BenchTarget* target,
                                                 const std::vector<std::vector<TokenId>>& prompts,
                                                 int max_tokens) {
  if (gate_ != nullptr) return absl::FailedPreconditionError("fill: there are streams already");
  if (prompts.empty()) return absl::InvalidArgumentError("prompts: none, expected one at least");
  gate_ = std::make_shared<StepGate>(static_cast<int>(prompts.size()));
  const TimePoint start = RealClock().Now();
  size_t num_tokens = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    streams_.push_back(std::make_shared<TokenLog>(gate_, static_cast<int>(i)));
    if (const auto status = target->Start(prompts[i], max_tokens, streams_.back()); !status.ok()) {
      streams_.back()->Finish(status);
      return status;
    }
    num_tokens += prompts[i].size();
  }
  SKV_RETURN_IF_ERROR(gate_->WaitUntilHeld());
  return nlohmann::json{{"prefill_seconds", ToSeconds(RealClock().Now() - start)},
                        {"prefill_tokens", num_tokens}};
}

absl::StatusOr<nlohmann::json> HeldStreams::Continue(int num_steps) {
  if (gate_ == nullptr) return absl::FailedPreconditionError("continue: no fill before it");
  if (num_steps < 1) return absl::InvalidArgumentError("n: expected 1 at least");
  std::vector<TimePoint> times;
  SKV_RETURN_IF_ERROR(gate_->Continue(num_steps, &times));
  return nlohmann::json{{"seconds", ToSeconds(times.back() - times.front())},
                        {"tokens", num_steps * streams_.size()},
                        {"median_token_seconds", MedianGapSeconds(times)}};
}

absl::StatusOr<nlohmann::json> HeldStreams::End() {
  if (gate_ == nullptr) return absl::FailedPreconditionError("end: no fill before it");
  gate_->Release();
  policy::KvUse use;
  for (const auto& stream : streams_) {
    // Cancelled, unless it has all its tokens.
    if (const absl::Status status = stream->WaitForFinish(); absl::IsDeadlineExceeded(status)) {
      return status;
    }
    use += stream->kv_use();
  }
  gate_ = nullptr;
  streams_.clear();
  return KvUseReply(use);
}

}  // namespace skv::bench
