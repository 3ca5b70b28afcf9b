#pragma once
// Entries that are kept until a time. Not thread-safe.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "common/clock.h"
#include "kvstore/index/eviction_order.h"

namespace skv::kvstore {

class PinTable {
 public:
  explicit PinTable(uint32_t max_pins) : max_pins_(max_pins) {}

  // Keeps `entry` until `until`, whatever was said before. False, and nothing changes, when there
  // are max_pins on other entries.
  bool Set(EntryIdx entry, TimePoint until);
  // False when it is not pinned.
  bool Erase(EntryIdx entry);
  // nullopt when it is not pinned.
  std::optional<TimePoint> UntilOf(EntryIdx entry) const;
  // Erases and returns one pin whose time has come.
  std::optional<EntryIdx> PopExpired(TimePoint now);

  uint32_t size() const { return static_cast<uint32_t>(until_.size()); }

 private:
  const uint32_t max_pins_;
  // Both hold the same pins.
  std::map<EntryIdx, TimePoint> until_;
  std::set<std::pair<TimePoint, EntryIdx>> by_time_;
};

}  // namespace skv::kvstore
