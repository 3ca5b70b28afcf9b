#pragma once
// Who waits for which key. Not thread-safe.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "kvstore/index/entry_key.h"

namespace skv::kvstore {

using EntryKeySet = absl::flat_hash_set<EntryKey, EntryKeyHash>;

// Clients are dense indices. The caller limits how much each may wait for.
class WaitTable {
 public:
  // Once more changes nothing.
  void Add(uint32_t client, const EntryKey& key);

  // Ends all waits for the key; returns who waited.
  std::vector<uint32_t> Take(const EntryKey& key);

  // Ends all waits of the client. Costs the number of clients that wait for the same keys.
  void RemoveAll(uint32_t client);

  size_t NumWaitsOf(uint32_t client) const;
  // Of all clients together.
  size_t size() const { return size_; }

 private:
  absl::flat_hash_map<EntryKey, std::vector<uint32_t>, EntryKeyHash> clients_of_;
  absl::flat_hash_map<uint32_t, EntryKeySet> keys_of_;
  size_t size_ = 0;
};

}  // namespace skv::kvstore
