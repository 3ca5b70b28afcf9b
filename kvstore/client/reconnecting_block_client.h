#pragma once
// A client of the host's store while there is one, and of a store in this process while there is
// not: so its calls are never Unavailable. A call that finds the session lost is repeated in this
// process, where nothing of the lost store's is found: a Get hits nothing there, and the next
// sentence of a chain has no parent (NotFound).
//
// Blocks that are held stay readable through every change; those being written then become private
// when they are sealed. Keys that are waited for are abandoned. What the store in this process
// holds is dropped when there is a session again, as far as no handle holds it.
//
// Engine thread only, as every client. It has no thread and no clock: Poll, called between steps,
// does all that nobody asks for.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "common/clock.h"
#include "kvstore/client/block_client.h"

namespace skv::kvstore {

struct ReconnectOptions {
  // Before the first attempt after a loss; doubles with each that fails.
  Duration first_pause = std::chrono::milliseconds(100);
  Duration max_pause = std::chrono::seconds(10);
};

struct ReconnectGauges {
  bool is_connected = false;
  uint64_t num_losses = 0;  // of sessions, since the start
  uint64_t num_failed_attempts = 0;
  size_t num_retired = 0;  // clients of the past whose blocks are held
};

class ReconnectingBlockClient : public BlockClient {
 public:
  using Factory = std::function<absl::StatusOr<std::unique_ptr<BlockClient>>()>;

  // `connect` opens a session and bounds its own time, which the caller of Poll spends.
  // `create_local` makes the store in this process; it is called when one is first needed, and its
  // errors are those of the calls that need it. Not connected until the first Poll.
  ReconnectingBlockClient(Factory connect, Factory create_local, const ReconnectOptions& options);

  // Sees whether the session is lost, and connects when it is time to; lets go of clients that
  // nobody holds blocks of.
  void Poll(TimePoint now) override;
  ReconnectGauges reconnect_gauges() const;

  absl::StatusOr<LeasedChain> Get(std::span<const PrefixKey> keys, TimePoint deadline) override;
  std::vector<absl::StatusOr<Creation>> Create(std::vector<NewSentence> sentences,
                                               TimePoint deadline) override;
  std::vector<absl::StatusOr<SealedBlock>> Seal(std::vector<WritableBlock> blocks, bool is_tip,
                                                TimePoint deadline) override;
  absl::Status Wait(std::span<const PrefixKey> keys, TimePoint deadline) override;
  Notices TakeNotices() override;
  absl::Status Flush(TimePoint deadline) override;
  absl::Status status() const override { return absl::OkStatus(); }
  // Of this and all past clients together; mapped bytes of those whose blocks are held.
  BlockClientGauges gauges() const override;

 private:
  absl::StatusOr<BlockClient*> Current();
  template <typename Call>
  absl::Status RunOn(Call call);
  bool RetireLost();
  void Retire(std::unique_ptr<BlockClient> client);
  void Collect(const Notices& notices);
  void PruneRetired();
  void Connect(TimePoint now);

  const Factory connect_;
  const Factory create_local_;
  const ReconnectOptions options_;
  std::unique_ptr<BlockClient> session_;  // nullptr: not connected
  std::unique_ptr<BlockClient> local_;    // nullptr: not needed yet
  std::vector<std::unique_ptr<BlockClient>> retired_;
  std::optional<TimePoint> next_attempt_ = TimePoint::min();  // nullopt: the next Poll says
  Duration pause_;
  absl::flat_hash_set<PrefixKey> awaited_;
  Notices notices_;
  BlockClientGauges past_;  // counts of clients that are gone
  uint64_t num_losses_ = 0;
  uint64_t num_failed_attempts_ = 0;
};

}  // namespace skv::kvstore
