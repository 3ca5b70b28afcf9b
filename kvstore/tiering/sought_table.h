#pragma once
// Which keys are being sought in tiers, and which were sought in vain a short while ago. Pure: time
// is passed in. Not thread-safe.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "common/clock.h"
#include "kvstore/index/entry_key.h"
#include "kvstore/tiering/seek.h"

namespace skv::kvstore {

struct SoughtLimits {
  size_t max_chains = 64;
  size_t max_keys = 1 << 16;    // of all chains
  size_t max_absent = 1 << 16;  // keys; the oldest goes first
  Duration seek_time = std::chrono::seconds(5);
  // So long a key that was not found is not sought again: whoever asked may look once more before
  // it begins to write.
  Duration absent_time = std::chrono::seconds(10);
  // The same of a key that was found and could not be placed: for that second look only, since soon
  // there may be room, or its parent.
  Duration unplaced_time = std::chrono::seconds(1);
};

class SoughtTable {
 public:
  explicit SoughtTable(const SoughtLimits& limits) : limits_(limits) {}

  // kNone: a limit is reached. REQUIRES: keys.size() >= 1; none is sought, or twice among them.
  SeekId Begin(absl::Span<const EntryKey> keys, TimePoint now);
  // It is there: not sought any more, nor absent.
  void Found(const EntryKey& key);
  // Appends the keys still sought to `ended`; the first of them is absent now. A seek that has
  // ended before changes nothing.
  void End(SeekId id, TimePoint now, std::vector<EntryKey>* ended) {
    EndUntil(id, now + limits_.absent_time, ended);
  }
  // The same of one that found a key that could not be placed: it is absent for unplaced_time.
  void EndUnplaced(SeekId id, TimePoint now, std::vector<EntryKey>* ended) {
    EndUntil(id, now + limits_.unplaced_time, ended);
  }
  // It was not begun after all: its keys are neither sought nor absent.
  void Withdraw(SeekId id);
  // Ends seeks whose time is over, appends their ids to `seeks`, and forgets absent keys.
  void Expire(TimePoint now, std::vector<SeekId>* seeks, std::vector<EntryKey>* ended);
  // When Expire has something to do; TimePoint::max(): nothing is sought, or absent.
  TimePoint NextDeadline() const;

  bool IsSought(const EntryKey& key) const { return sought_.contains(key); }
  bool IsAbsent(const EntryKey& key, TimePoint now) const;
  bool IsActive(SeekId id) const { return chains_.contains(id); }
  // REQUIRES: IsActive(id).
  TimePoint BeginOf(SeekId id) const { return chains_.at(id).begin; }

  size_t num_chains() const { return chains_.size(); }
  size_t num_keys() const { return sought_.size(); }
  size_t num_absent() const { return absent_.size(); }
  const SoughtLimits& limits() const { return limits_; }

 private:
  struct Chain {
    std::vector<EntryKey> keys;  // those that were found included
    TimePoint begin;
  };
  void EndUntil(SeekId id, TimePoint absent_until, std::vector<EntryKey>* ended);
  void AddAbsent(const EntryKey& key, TimePoint until);

  const SoughtLimits limits_;
  uint64_t last_id_ = 0;
  std::map<SeekId, Chain> chains_;  // by begin, too
  absl::flat_hash_map<EntryKey, SeekId, EntryKeyHash> sought_;
  absl::flat_hash_map<EntryKey, TimePoint, EntryKeyHash> absent_;  // until when
  // As they came; in part of keys that are absent no more, or until later. At most max_absent. Some
  // outlive their time behind others, which IsAbsent knows.
  std::deque<std::pair<TimePoint, EntryKey>> absent_order_;
};

}  // namespace skv::kvstore
