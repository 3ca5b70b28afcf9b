#pragma once
// The thread of one tier: brings what clients seek from the tier to the arena, and writes to the
// tier what became visible. Seeks come first; a seek waits for one batch of writes at most.
//
// Blocks are checked whenever they pass, both ways. A damaged one in the tier is erased there, and
// is then as good as not there; a damaged one in the arena is dropped, and never written. Where
// there are damaged ones a chain is read on, only to find all: a tier takes what it has for
// written, so they would stay in the way of whole ones.
//
// What a tier does not have the next one is asked for. What was found goes to the tiers before it,
// too.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "kvstore/block/block_header.h"
#include "kvstore/tier/tier.h"
#include "kvstore/tiering/tier_desk.h"
#include "kvstore/tiering/tier_inbox.h"

namespace skv::kvstore {

struct TierMoverOptions {
  Duration call_time = std::chrono::seconds(1);  // of one call of the tier
  // The tier is off, full, or behind: so long until writes are tried again.
  Duration retry_time = std::chrono::milliseconds(250);
  // Of one call that writes, one block at least: what a seek may have to wait for.
  size_t max_write_bytes = 16 << 20;
};

// A snapshot; totals are since the start.
struct TierMoverGauges {
  uint64_t num_found_entries = 0;   // read whole, and placed in the arena
  uint64_t num_corrupt_blocks = 0;  // in the tier
  uint64_t num_written_entries = 0;
  uint64_t num_damaged_entries = 0;  // in the arena
  uint64_t num_failed_writes = 0;    // entries that the tier did not take, such as a full one
};

class TierMover {
 public:
  // `inboxes` are those of all tiers in order, `position` the own one among them. All outlive this.
  TierMover(const TierMoverOptions& options, Tier* tier, std::vector<TierInbox*> inboxes,
            size_t position, StoreOwner* owner, const Clock* clock);
  // REQUIRES: stopped, or not started.
  ~TierMover();
  TierMover(const TierMover&) = delete;
  TierMover& operator=(const TierMover&) = delete;

  void Start();
  // Ends what is being done; what waits is not done any more. Takes as long as a call of the tier.
  void Stop();

  // What Start's thread does again and again: one seek, or one batch of writes, for which it waits
  // until `deadline`. False: stopped.
  bool Step(TimePoint deadline);

  TierMoverGauges gauges() const;
  const Tier& tier() const { return *tier_; }
  const TierInbox& inbox() const { return *inboxes_[position_]; }

 private:
  // An entry in the tier's own memory: one value a rank.
  struct FoundEntry {
    EntryKey key;
    std::vector<TierValue> values;
    std::vector<ParsedBlock> blocks;
  };

  // What one call has read of a chain.
  struct FoundBatch {
    std::vector<FoundEntry> entries;  // up to the first that is not there with all its ranks
    size_t num_damaged = 0;           // blocks, those behind that included; erased
  };

  void Promote(Seek seek);
  void PassOn(Seek seek, size_t num_found);
  void EraseDamaged(const Seek& seek, size_t begin);
  FoundBatch Read(const Seek& seek, size_t begin, size_t num_keys);
  std::optional<FoundEntry> Check(const Seek& seek, size_t index,
                                  std::span<absl::StatusOr<TierValue>> values,
                                  std::vector<TierKey>* damaged);
  size_t Copy(const Seek& seek, const std::vector<FoundEntry>& found);
  void EndSeek(SeekId id, bool has_room);
  void Write(const std::vector<EntryKey>& keys);
  absl::Status Put(const std::vector<HeldEntry>& entries);
  void Erase(const std::vector<TierKey>& keys);
  absl::Status EraseWaiting();
  template <typename Call>
  auto CallTier(Call call);
  void Count(uint64_t TierMoverGauges::*total, uint64_t by);

  const TierMoverOptions options_;
  Tier* const tier_;
  const std::vector<TierInbox*> inboxes_;
  const size_t position_;
  StoreOwner* const owner_;
  const Clock* const clock_;
  TimePoint writes_from_ = TimePoint::min();
  std::vector<TierKey> to_erase_;  // of a tier that was off or behind: before the next writes
  std::thread thread_;
  mutable Mutex mutex_;
  TierMoverGauges gauges_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::kvstore
