#include "kvstore/server/command_store_owner.h"

#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace skv::kvstore {
namespace {

constexpr auto kFullQueuePause = std::chrono::milliseconds(5);
constexpr auto kWaitTime = std::chrono::seconds(1);

// Outlives whichever of both sides is done first.
struct Outcome {
  Mutex mutex;
  CondVar changed;
  std::optional<bool> has_run SKV_GUARDED_BY(mutex);
};

bool WaitFor(Outcome* outcome) {
  const MutexLock lock(&outcome->mutex);
  const auto is_done = [outcome]()
                           SKV_REQUIRES(outcome->mutex) { return outcome->has_run.has_value(); };
  while (!outcome->changed.WaitUntil(&outcome->mutex, RealClock().Now() + kWaitTime, is_done)) {
  }
  return *outcome->has_run;
}

}  // namespace

bool CommandStoreOwner::Run(const std::function<void(TierDesk*)>& call) {
  const auto outcome = std::make_shared<Outcome>();
  // Lives until the command was called: WaitFor returns after that.
  const auto command = [this, outcome, &call](const absl::StatusOr<StoreAdmin*>& admin) {
    if (admin.ok()) call(desk_);
    const MutexLock lock(&outcome->mutex);
    outcome->has_run = admin.ok();
    outcome->changed.NotifyOne();
  };
  absl::Status submitted;
  while (!(submitted = commands_->Submit(TimePoint::max(), command)).ok()) {
    if (!absl::IsResourceExhausted(submitted)) return false;
    std::this_thread::sleep_for(kFullQueuePause);
  }
  return WaitFor(outcome.get());
}

CommandQueue::Command CommandStoreOwner::OnDesk(Command command) const {
  // The desk is read on the owner's thread: whoever submits may do so before there is one.
  return [this, command = std::move(command)](const absl::StatusOr<StoreAdmin*>& admin) {
    command(admin.ok() ? absl::StatusOr<TierDesk*>(desk_) : admin.status());
  };
}

absl::Status CommandStoreOwner::Submit(TimePoint deadline, Command command) {
  return commands_->Submit(deadline, OnDesk(std::move(command)));
}

absl::Status CommandStoreOwner::SubmitRelease(Command command) {
  return commands_->SubmitRelease(OnDesk(std::move(command)));
}

}  // namespace skv::kvstore
