#pragma once
// Blocks whose bytes follow from their number, and a folder that goes with the test.

#include <stdlib.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "common/log.h"
#include "kvstore/tier/tier.h"

namespace skv::kvstore {

inline TimePoint Soon() { return RealClock().Now() + std::chrono::seconds(20); }

class TestFolder {
 public:
  TestFolder() {
    char name[] = "/tmp/skv_tier_XXXXXX";
    SKV_CHECK(mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline TierKey TestKey(uint64_t number) {
  TierKey key;
  std::memcpy(key.entry.prefix.bytes.data(), &number, sizeof(number));
  key.entry.layout.bytes.fill('\n');
  key.rank = static_cast<uint32_t>(number % 3);
  return key;
}

inline std::vector<std::byte> TestBytes(uint64_t number, size_t size) {
  std::vector<std::byte> bytes(size);
  std::mt19937_64 random(number);
  for (size_t i = 0; i < size; i += 8) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, std::min<size_t>(8, size - i));
  }
  return bytes;
}

// Until `deadline` again and again where the tier is behind.
inline absl::Status PutAll(Tier& tier, std::span<const TierBlock> blocks,
                           TimePoint deadline = Soon()) {
  while (true) {
    absl::Status status = tier.Put(blocks, deadline);
    if (!absl::IsDeadlineExceeded(status) || RealClock().Now() >= deadline) return status;
  }
}

inline absl::Status PutOne(Tier& tier, uint64_t number, size_t size, TimePoint deadline = Soon()) {
  const std::vector<std::byte> bytes = TestBytes(number, size);
  const TierBlock block = {TestKey(number), bytes};
  return PutAll(tier, {&block, 1}, deadline);
}

inline absl::Status EraseOne(Tier& tier, uint64_t number, TimePoint deadline = Soon()) {
  const TierKey key = TestKey(number);
  while (true) {
    absl::Status status = tier.Erase({&key, 1}, deadline);
    if (!absl::IsDeadlineExceeded(status) || RealClock().Now() >= deadline) return status;
  }
}

inline absl::StatusOr<TierValue> GetOne(Tier& tier, uint64_t number, TimePoint deadline = Soon()) {
  const TierKey key = TestKey(number);
  auto values = tier.Get({&key, 1}, deadline);
  if (!values.ok()) return values.status();
  SKV_CHECK(values->size() == 1);
  return (*values)[0];
}

inline bool IsTestBlock(const absl::StatusOr<TierValue>& value, uint64_t number, size_t size) {
  if (!value.ok() || value->bytes.size() != size) return false;
  const std::vector<std::byte> expected = TestBytes(number, size);
  return std::memcmp(value->bytes.data(), expected.data(), size) == 0;
}

}  // namespace skv::kvstore
