#include "kvstore/grpc/read_pump.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {
namespace {

constexpr auto kWaitTime = std::chrono::seconds(1);

// On the thread that owns the store.
absl::Status HoldFor(const absl::StatusOr<TierDesk*>& desk, const ReadQuery& query,
                     ReadStream* stream) {
  SKV_RETURN_IF_ERROR(desk.status());
  if (stream->IsCancelled()) return absl::CancelledError("read: the caller went away");
  SKV_ASSIGN_OR_RETURN(HeldChain chain, (*desk)->HoldChain(query.rank, query.keys));
  stream->hold().SetChain(std::move(chain));
  return absl::OkStatus();
}

}  // namespace

ReadPump::ReadPump(uint32_t max_streams, CommandStoreOwner* owner)
    : holds_(max_streams, owner), owner_(owner), thread_([this] { Run(); }) {}

ReadPump::~ReadPump() {
  {
    const MutexLock lock(&mutex_);
    is_ending_ = true;
    changed_.NotifyOne();
  }
  thread_.join();
}

absl::StatusOr<ReadStream*> ReadPump::Open(grpc::CallbackServerContext* context, ReadQuery query,
                                           TimePoint lease_deadline) {
  std::shared_ptr<ReadHold> hold = holds_.Take();
  if (hold == nullptr) {
    return absl::ResourceExhaustedError(
        "read: there are as many calls as may be (--max-read-streams)");
  }
  auto stream = std::make_unique<ReadStream>(std::move(hold), &holds_, context);
  // Commands are copied around, and called once.
  const auto shared = std::make_shared<std::unique_ptr<ReadStream>>(std::move(stream));
  ReadStream* const reactor = shared->get();
  SKV_RETURN_IF_ERROR(owner_->Submit(lease_deadline, [this, shared, query = std::move(query)](
                                                         const absl::StatusOr<TierDesk*>& desk) {
    absl::Status status = HoldFor(desk, query, shared->get());
    Push({std::move(*shared), std::move(status)});
  }));
  return reactor;
}

void ReadPump::Push(Ready ready) {
  const MutexLock lock(&mutex_);
  ready_.push_back(std::move(ready));
  changed_.NotifyOne();
}

void ReadPump::Run() {
  while (true) {
    Ready next;
    {
      const MutexLock lock(&mutex_);
      const auto is_needed = [this]()
                                 SKV_REQUIRES(mutex_) { return is_ending_ || !ready_.empty(); };
      if (!changed_.WaitUntil(&mutex_, RealClock().Now() + kWaitTime, is_needed)) continue;
      if (ready_.empty()) return;
      next = std::move(ready_.front());
      ready_.pop_front();
    }
    next.stream.release()->Begin(next.status);
  }
}

}  // namespace skv::kvstore
