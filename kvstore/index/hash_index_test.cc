#include "kvstore/index/hash_index.h"

#include <map>
#include <random>

#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

TEST(HashIndexTest, FindsWhatAMapHoldsThroughCollisionsAndErasures) {
  // 40 hashes for up to 100 ids: whole runs collide, and wrap around the end of the table.
  constexpr uint32_t kCapacity = 100;
  HashIndex index(kCapacity);
  std::map<uint32_t, uint64_t> hash_of;
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const auto id = static_cast<uint32_t>(random() % kCapacity);
    if (const auto it = hash_of.find(id); it != hash_of.end()) {
      index.Erase(it->second, id);
      hash_of.erase(it);
    } else {
      const uint64_t hash = 100 + random() % 40;
      index.Insert(hash, id);
      hash_of[id] = hash;
    }
    for (uint32_t wanted = 0; wanted < kCapacity; wanted += 7) {
      const uint64_t hash = hash_of.contains(wanted) ? hash_of[wanted] : 100;
      const uint32_t found = index.Find(hash, [&](uint32_t id) { return id == wanted; });
      ASSERT_EQ(found, hash_of.contains(wanted) ? wanted : HashIndex::kNone);
    }
  }
}

}  // namespace
}  // namespace skv::kvstore
