#pragma once
// All tiers of a store, and those who move and check its blocks: one thread a tier, and one that
// scrubs. A store without tiers has the latter only. Thread-safe, but for Start and Stop.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/clock.h"
#include "kvstore/tier/tier.h"
#include "kvstore/tiering/scrubber.h"
#include "kvstore/tiering/tier_desk.h"
#include "kvstore/tiering/tier_inbox.h"
#include "kvstore/tiering/tier_mover.h"

namespace skv::kvstore {

// A tier, and how blocks move to and from it.
struct TierSetup {
  std::unique_ptr<Tier> tier;
  TierInboxLimits limits;
  TierMoverOptions mover;
};

// All that there is to tell of a tier. A snapshot.
struct TierStatus {
  std::string name;
  TierGauges tier;
  TierInboxGauges inbox;
  TierInboxLimits limits;
  TierMoverGauges mover;
};

class Tiering {
 public:
  // `tiers` in the order in which they are asked; `owner` and `clock` outlive this.
  Tiering(std::vector<TierSetup> tiers, const ScrubberOptions& scrubber, StoreOwner* owner,
          const Clock* clock);

  // Once the owner runs; then Stop must follow, and while the owner still runs.
  void Start();
  void Stop();

  // For the TierDesk of the store.
  std::vector<TierInbox*> inboxes();
  size_t num_tiers() const { return stations_.size(); }
  // As Scrubber::Report.
  void Report(absl::Span<const EntryKey> keys) { scrubber_.Report(keys); }

  // As the Scrubber's.
  absl::StatusOr<uint64_t> Verify() { return scrubber_.Verify(); }
  Verification verification() const { return scrubber_.verification(); }

  std::vector<TierStatus> tiers() const;
  ScrubberGauges scrubber() const { return scrubber_.gauges(); }
  size_t max_reports() const { return scrubber_.options().max_reports; }

 private:
  struct Station {
    std::unique_ptr<Tier> tier;
    std::unique_ptr<TierInbox> inbox;
    std::unique_ptr<TierMover> mover;
  };

  std::vector<Station> stations_;
  Scrubber scrubber_;
};

}  // namespace skv::kvstore
