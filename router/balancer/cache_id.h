#pragma once

#include <cstdint>

namespace skv::router {

// A place where computed prompts stay: the block store of a host, which several groups may share,
// or that of one group. Membership gives each a number when it first hears of it, and another one
// when it has begun anew empty; numbers are never reused.
using CacheId = int64_t;
// Of a group whose cache is not known: it is expected to have nothing.
inline constexpr CacheId kNoCache = -1;

}  // namespace skv::router
