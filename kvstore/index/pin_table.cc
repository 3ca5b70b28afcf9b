#include "kvstore/index/pin_table.h"

namespace skv::kvstore {

bool PinTable::Set(EntryIdx entry, TimePoint until) {
  if (!Erase(entry) && size() >= max_pins_) return false;
  until_.emplace(entry, until);
  by_time_.emplace(until, entry);
  return true;
}

bool PinTable::Erase(EntryIdx entry) {
  const auto it = until_.find(entry);
  if (it == until_.end()) return false;
  by_time_.erase({it->second, entry});
  until_.erase(it);
  return true;
}

std::optional<TimePoint> PinTable::UntilOf(EntryIdx entry) const {
  const auto it = until_.find(entry);
  if (it == until_.end()) return std::nullopt;
  return it->second;
}

std::optional<EntryIdx> PinTable::PopExpired(TimePoint now) {
  if (by_time_.empty() || by_time_.begin()->first > now) return std::nullopt;
  const EntryIdx entry = by_time_.begin()->second;
  Erase(entry);
  return entry;
}

}  // namespace skv::kvstore
