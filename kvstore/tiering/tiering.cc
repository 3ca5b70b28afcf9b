#include "kvstore/tiering/tiering.h"

#include <utility>

namespace skv::kvstore {

Tiering::Tiering(std::vector<TierSetup> tiers, const ScrubberOptions& scrubber, StoreOwner* owner,
                 const Clock* clock)
    : scrubber_(scrubber, owner, clock) {
  for (TierSetup& setup : tiers) {
    stations_.push_back(
        {.tier = std::move(setup.tier), .inbox = std::make_unique<TierInbox>(setup.limits)});
  }
  for (size_t i = 0; i < stations_.size(); ++i) {
    stations_[i].mover = std::make_unique<TierMover>(tiers[i].mover, stations_[i].tier.get(),
                                                     inboxes(), i, owner, clock);
  }
}

void Tiering::Start() {
  for (const Station& station : stations_) station.mover->Start();
  scrubber_.Start();
}

void Tiering::Stop() {
  for (const Station& station : stations_) station.mover->Stop();
  scrubber_.Stop();
}

std::vector<TierInbox*> Tiering::inboxes() {
  std::vector<TierInbox*> inboxes;
  for (const Station& station : stations_) inboxes.push_back(station.inbox.get());
  return inboxes;
}

std::vector<TierStatus> Tiering::tiers() const {
  std::vector<TierStatus> tiers;
  for (const Station& station : stations_) {
    tiers.push_back({.name = std::string(station.tier->name()),
                     .tier = station.tier->gauges(),
                     .inbox = station.inbox->gauges(),
                     .limits = station.inbox->limits(),
                     .mover = station.mover->gauges()});
  }
  return tiers;
}

}  // namespace skv::kvstore
