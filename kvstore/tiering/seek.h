#pragma once
// A chain of entries that a client asked for and the arena does not have: tiers are asked for it.

#include <cstdint>
#include <optional>
#include <vector>

#include "common/block_key.h"
#include "common/clock.h"
#include "kvstore/index/entry_key.h"
#include "kvstore/index/tenant_table.h"

namespace skv::kvstore {

// Never used again.
enum class SeekId : uint64_t { kNone = 0 };

struct Seek {
  SeekId id = SeekId::kNone;
  TenantIdx tenant = 0;             // of who asked: its quota is used
  uint32_t world_size = 1;          // likewise: blocks of an entry
  std::optional<PrefixKey> parent;  // of the first key; nullopt: its block tells
  std::vector<EntryKey> keys;       // each the parent of the next
  TimePoint deadline;               // what is not found by then is not waited for
};

}  // namespace skv::kvstore
