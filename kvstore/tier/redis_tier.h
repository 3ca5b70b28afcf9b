#pragma once
// "redis": blocks in a Redis or Valkey server that hosts share, each a string under
// "skv:2:" + the bytes of its name (tier_key.h); 2 is the version of blocks, so that stores of
// other versions may use the same server. They have no time to live: the server's memory limit and
// policy (maxmemory, maxmemory-policy allkeys-lru) say what stays.
//
// Keeps one connection, which is made when it is needed. What comes over it is not trusted: after
// anything that is not the reply to what was asked the connection is dropped, and the call is
// Unavailable.
//
// Put: ResourceExhausted also when the server is full and evicts nothing; InvalidArgument: a block
// of more than 512 MiB, the longest string that servers take.
// Values stay readable after the tier.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kvstore/tier/tier.h"
#include "kvstore/tier/tier_options.h"

namespace skv::kvstore {

// The string that a block is kept under.
std::string RedisKey(const TierKey& key);

// InvalidArgument: the address, the database or the time-out. NotFound: the password's file.
absl::StatusOr<std::unique_ptr<Tier>> OpenHiredisTier(const RedisTierOptions& options);

}  // namespace skv::kvstore
