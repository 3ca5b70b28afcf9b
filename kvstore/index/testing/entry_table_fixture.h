#pragma once
// A small vocabulary for stories about the entry table.

#include <optional>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "kvstore/index/entry_table.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/index/testing/numbered_keys.h"

namespace skv::kvstore {

// Chains of entries of 10 bytes in a table for 100; entry n lies at offset 1000 n.
class EntryTableFixture : public testing::Test {
 protected:
  static EntryTableOptions Options() {
    EntryTableOptions options;
    options.capacity_bytes = 100;
    options.max_entries = options.max_shards = 1000;
    options.leases = {.max_sessions = 8, .max_leases = 100, .max_leases_per_session = 50};
    options.watch_stride = 1;
    return options;
  }

  SessionId Open() { return table_.OpenSession().value(); }
  static NewShard Block(uint32_t number, std::optional<uint32_t> parent = std::nullopt) {
    NewShard shard{.key = KeyOfNumber(number), .bytes = 10};
    if (parent.has_value()) shard.parent = KeyOfNumber(*parent).prefix;
    return shard;
  }
  absl::StatusOr<Created> Create(SessionId session, const NewShard& shard) {
    return table_.Create(session, shard, now_, &changes_);
  }
  // Created, placed, and still being written.
  LeaseId Write(SessionId session, const NewShard& shard) {
    const absl::StatusOr<Created> created = Create(session, shard);
    EXPECT_OK(created.status());
    EXPECT_EQ(created->outcome, Created::Outcome::kCreated);
    EXPECT_OK(table_.Place(session, created->lease, 1000 * shard.key.prefix.bytes[0] + shard.rank));
    return created->lease;
  }
  LeaseId Seal(SessionId session, const NewShard& shard) {
    const LeaseId lease = Write(session, shard);
    EXPECT_OK(table_.Seal(session, lease, false, &changes_));
    return lease;
  }
  // Sealed, and held by nobody.
  void Store(const NewShard& shard) { Release(writer_, Seal(writer_, shard)); }
  void StoreChain(uint32_t first, uint32_t count) {
    Store(Block(first));
    for (uint32_t i = first + 1; i < first + count; ++i) Store(Block(i, i - 1));
  }
  void Release(SessionId session, LeaseId lease) {
    EXPECT_OK(table_.Release(session, lease, &changes_));
  }
  Hit Lookup(SessionId session, std::vector<uint32_t> numbers, uint32_t rank = 0) {
    std::vector<EntryKey> keys;
    for (const uint32_t number : numbers) keys.push_back(KeyOfNumber(number));
    return table_.Lookup(session, rank, keys, &blocks_).value();
  }
  bool IsThere(uint32_t number) {
    const Hit hit = Lookup(writer_, {number});
    if (hit.num_entries > 0) Release(writer_, hit.lease);
    return hit.num_entries > 0;
  }
  int64_t EvictAll() { return table_.Evict(INT64_MAX, now_, &changes_); }
  std::vector<int64_t> FreedNumbers() const {
    std::vector<int64_t> numbers;
    for (const FreedShard& shard : changes_.freed) numbers.push_back(shard.offset / 1000);
    return numbers;
  }

  EntryTable table_{Options(), CreateLruOrder(Options().order())};
  const SessionId writer_ = Open();
  TimePoint now_;
  Changes changes_;
  std::vector<ShardBytes> blocks_;
};

}  // namespace skv::kvstore
