#pragma once
// The store's owner, reached through its queue of commands.

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "kvstore/server/command_queue.h"
#include "kvstore/tiering/tier_desk.h"

namespace skv::kvstore {

// Run waits for its turn for as long as the owner lives: what is to be given back to the store must
// not be lost since others are busy. How long the owner takes is watched by its heartbeat
// (ServerStatus), and when it stops all that wait are told.
class CommandStoreOwner : public StoreOwner {
 public:
  // `commands` outlives this.
  explicit CommandStoreOwner(CommandQueue* commands) : commands_(commands) {}

  // What commands get. REQUIRES: none was called yet; `desk` outlives all that will be.
  void SetDesk(TierDesk* desk) { desk_ = desk; }

  bool Run(const std::function<void(TierDesk*)>& call) override;

  // For those who cannot wait: as CommandQueue's, with the desk.
  using Command = std::function<void(absl::StatusOr<TierDesk*>)>;
  absl::Status Submit(TimePoint deadline, Command command);
  absl::Status SubmitRelease(Command command);

 private:
  CommandQueue::Command OnDesk(Command command) const;

  CommandQueue* const commands_;
  TierDesk* desk_ = nullptr;
};

}  // namespace skv::kvstore
