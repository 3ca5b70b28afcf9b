#include "kvstore/grpc/watch_pump.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace skv::kvstore {
namespace {

// For writes that take too long.
constexpr auto kMaxWait = std::chrono::seconds(1);

}  // namespace

WatchPump::WatchPump(const StoreEpoch& epoch, uint32_t max_streams, EventFeed* feed,
                     CommandQueue* commands, const Clock* clock)
    : epoch_(epoch),
      max_streams_(max_streams),
      feed_(feed),
      commands_(commands),
      clock_(clock),
      thread_([this] { Run(); }) {}

WatchPump::~WatchPump() {
  Stop();
  {
    const MutexLock lock(&mutex_);
    is_ending_ = true;
  }
  feed_->Wake();
  thread_.join();
}

absl::StatusOr<WatchStream*> WatchPump::Open(grpc::CallbackServerContext* context,
                                             const WatchPosition& position) {
  auto stream = std::make_shared<WatchStream>(WatchCursor(epoch_, position, feed_), context, feed_,
                                              commands_);
  {
    const MutexLock lock(&mutex_);
    if (is_stopping_) return absl::UnavailableError("the store is stopping");
    RemoveDone();
    if (streams_.size() >= max_streams_) {
      ++totals_.num_refused;
      return absl::ResourceExhaustedError(
          absl::StrCat("watch: there are ", max_streams_, " calls already (--max-watch-streams)"));
    }
    if (stream->takes_snapshot()) ++totals_.num_snapshots;
    stream->Start();
    streams_.push_back(stream);
  }
  feed_->Wake();
  return stream.get();
}

void WatchPump::Stop() {
  {
    const MutexLock lock(&mutex_);
    is_stopping_ = true;
  }
  feed_->Wake();
}

WatchGauges WatchPump::gauges() const {
  const MutexLock lock(&mutex_);
  WatchGauges gauges = totals_;
  for (const auto& stream : streams_) {
    if (stream->is_done()) continue;
    ++gauges.num_streams;
    gauges.max_lag = std::max(gauges.max_lag, stream->lag());
  }
  return gauges;
}

void WatchPump::Run() {
  std::vector<std::shared_ptr<WatchStream>> streams;
  uint64_t end_sequence = feed_->next_sequence();
  while (true) {
    absl::Status end;
    {
      const MutexLock lock(&mutex_);
      RemoveDone();
      if (is_ending_ && streams_.empty()) return;
      if (is_stopping_) end = absl::UnavailableError("the store is stopping");
      streams = streams_;
    }
    const TimePoint now = clock_->Now();
    for (const auto& stream : streams) stream->Advance(now, end_sequence, end);
    streams.clear();
    if (feed_->Wait(RealClock().Now() + kMaxWait)) end_sequence = feed_->next_sequence();
  }
}

void WatchPump::RemoveDone() {
  std::erase_if(streams_, [this](const std::shared_ptr<WatchStream>& stream) {
    if (!stream->is_done()) return false;
    if (stream->was_too_slow()) ++totals_.num_too_slow;
    return true;
  });
}

}  // namespace skv::kvstore
