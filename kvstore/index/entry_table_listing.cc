// What there is, in pieces.

#include <algorithm>
#include <optional>
#include <vector>

#include "kvstore/index/entry_table.h"

namespace skv::kvstore {
namespace {

EntryInfo::State StateOf(const Entry& entry) {
  switch (entry.state) {
    case Entry::State::kCreated:
      return EntryInfo::State::kCreated;
    case Entry::State::kSealed:
      return EntryInfo::State::kSealed;
    case Entry::State::kDropped:
      break;
  }
  return EntryInfo::State::kDropped;
}

}  // namespace

template <typename Visit>
std::optional<EntryIdx> EntryTable::VisitEntries(EntryIdx begin, uint32_t max_entries,
                                                 Visit visit) const {
  const uint64_t end = std::min<uint64_t>(uint64_t{begin} + max_entries, entries_.end());
  for (uint64_t i = begin; i < end; ++i) {
    const auto idx = static_cast<EntryIdx>(i);
    if (entries_.IsLive(idx)) visit(idx, entries_[idx]);
  }
  if (end >= entries_.end()) return std::nullopt;
  return static_cast<EntryIdx>(end);
}

std::optional<EntryIdx> EntryTable::ListAnnounced(EntryIdx begin, uint32_t max_entries,
                                                  std::vector<EntryEvent>* events) const {
  return VisitEntries(begin, max_entries, [events](EntryIdx, const Entry& entry) {
    if (entry.state != Entry::State::kSealed || !entry.announced) return;
    events->push_back(EventOf(EntryEvent::Kind::kSealed, entry));
  });
}

std::optional<EntryIdx> EntryTable::ListEntries(EntryIdx begin, uint32_t max_entries,
                                                std::vector<EntryInfo>* entries) const {
  return VisitEntries(begin, max_entries, [this, entries](EntryIdx idx, const Entry& entry) {
    EntryInfo info{.key = entry.key,
                   .depth = entry.depth,
                   .tenant = entry.tenant,
                   .state = StateOf(entry),
                   .world_size = entry.world_size,
                   .bytes = entry.bytes,
                   .num_leases = entry.num_leases,
                   .num_children = entry.num_children,
                   .announced = entry.announced};
    if (entry.parent != kNoEntry) info.parent = entries_[entry.parent].key;
    if (entry.is_pinned) info.pinned_until = pins_.UntilOf(idx);
    entries->push_back(info);
  });
}

}  // namespace skv::kvstore
