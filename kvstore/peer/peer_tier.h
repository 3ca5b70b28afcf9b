#pragma once
// "peer:HOST:PORT": the memory of another host's store, to read from. Put and Erase do nothing:
// that store keeps what its own clients write. It looks for nothing in its own tiers and peers, so
// stores may be each other's.
//
// Get: ResourceExhausted where the peer has as many readers as it takes. Values stay readable after
// the tier.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kvstore/tier/tier.h"

namespace skv::kvstore {

// Connects with the first call, so that a peer that is down does not keep a store from starting.
// InvalidArgument: the address is not HOST:PORT.
absl::StatusOr<std::unique_ptr<Tier>> OpenPeerTier(const std::string& address);

}  // namespace skv::kvstore
