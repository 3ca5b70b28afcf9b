#pragma once
// What a store says to those who follow it (proto/skv/kvstore/v1/kvstore.proto, Watch), as plain
// structs.

#include <array>
#include <cstdint>
#include <vector>

#include "kvstore/index/event_log.h"

namespace skv::kvstore {

// Drawn anew each time that a store is started.
using StoreEpoch = std::array<uint8_t, 16>;

// Where to go on.
struct WatchPosition {
  StoreEpoch epoch = {};
  uint64_t next_sequence = 0;  // 0: nowhere; a snapshot is wanted
  bool operator==(const WatchPosition&) const = default;
};

// A page of a snapshot, or events.
struct WatchMessage {
  StoreEpoch epoch = {};
  uint64_t next_sequence = 0;  // of the event that comes next; 0 while a snapshot is not complete
  bool is_page = false;
  bool is_first = false, is_last = false;  // of a snapshot's pages
  uint64_t first_sequence = 0;             // of the events; a page has none
  std::vector<EntryEvent> events;          // of a page: what is there, all of kind kSealed
  bool operator==(const WatchMessage&) const = default;
};

}  // namespace skv::kvstore
