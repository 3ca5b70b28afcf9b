#pragma once
// What a router still waits for from a group.

#include <cstdint>
#include <string_view>

#include "router/membership/membership.h"

namespace skv::router {

// Tokens; -1: there is no group of this address.
inline int64_t OutstandingAt(const Membership& membership, std::string_view address) {
  const auto cluster = membership.snapshot();
  for (const auto& [id, entry] : cluster->groups) {
    if (entry.group->address() == address) return entry.group->outstanding()->load();
  }
  return -1;
}

}  // namespace skv::router
