// Blocks of 460 KB, a sentence of 20 tokens of SmolLM2-135M, in batches of 32: what each tier
// takes, and what it gives back, beside the memcpy of as many bytes.

#include <cstring>

#include "benchmark/benchmark.h"
#include "kvstore/tier/open_tier.h"
#include "kvstore/tier/testing/redis_process.h"
#include "kvstore/tier/testing/test_blocks.h"

namespace skv::kvstore {
namespace {

constexpr size_t kBlockBytes = 460'800;
constexpr size_t kBatch = 32;
constexpr uint64_t kNumBlocks = 1024;  // 472 MB

// A tier with its server, if it needs one.
struct Bench {
  TestFolder folder;
  std::unique_ptr<RedisProcess> server;
  std::unique_ptr<Tier> tier;
};

std::unique_ptr<Bench> OpenNvme() {
  auto bench = std::make_unique<Bench>();
  bench->tier =
      OpenNvmeTier({.folder = bench->folder.path() + "/nvme", .capacity_bytes = uint64_t{2} << 30})
          .value();
  return bench;
}

std::unique_ptr<Bench> OpenRedis() {
  auto bench = std::make_unique<Bench>();
  bench->server = std::make_unique<RedisProcess>(
      bench->folder.path(),
      std::vector<std::string>{"--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"});
  bench->tier = OpenRedisTier({.address = bench->server->address()}).value();
  return bench;
}

void PutBatch(Tier& tier, uint64_t first, std::span<const std::byte> bytes) {
  std::vector<TierBlock> blocks;
  for (uint64_t i = 0; i < kBatch; ++i) blocks.push_back({TestKey(first + i), bytes});
  const absl::Status status = PutAll(tier, blocks);
  SKV_CHECK(status.ok()) << status;
}

void SetRate(benchmark::State& state) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBatch * kBlockBytes));
}

void BM_Put(benchmark::State& state, std::unique_ptr<Bench> (*open)()) {
  const auto bench = open();
  const auto bytes = TestBytes(1, kBlockBytes);
  uint64_t next = 0;
  for (auto _ : state) {
    PutBatch(*bench->tier, next, bytes);
    next += kBatch;
  }
  SetRate(state);
}
BENCHMARK_CAPTURE(BM_Put, nvme, OpenNvme)->UseRealTime()->MinTime(3);
BENCHMARK_CAPTURE(BM_Put, redis, OpenRedis)->UseRealTime()->MinTime(3);

// The page cache has what the nvme tier reads, but for the first time round.
void BM_Get(benchmark::State& state, std::unique_ptr<Bench> (*open)()) {
  const auto bench = open();
  const auto bytes = TestBytes(1, kBlockBytes);
  for (uint64_t i = 0; i < kNumBlocks; i += kBatch) PutBatch(*bench->tier, i, bytes);
  uint64_t next = 0;
  for (auto _ : state) {
    std::vector<TierKey> keys;
    for (uint64_t i = 0; i < kBatch; ++i) keys.push_back(TestKey((next + i) % kNumBlocks));
    next += kBatch;
    const auto values = bench->tier->Get(keys, Soon());
    SKV_CHECK(values.ok()) << values.status();
    SKV_CHECK(values->front().ok() && values->back().ok()) << values->back().status();
  }
  SetRate(state);
}
BENCHMARK_CAPTURE(BM_Get, nvme, OpenNvme)->UseRealTime()->MinTime(3);
BENCHMARK_CAPTURE(BM_Get, redis, OpenRedis)->UseRealTime()->MinTime(3);

void BM_Copy(benchmark::State& state) {
  const auto from = TestBytes(1, kBatch * kBlockBytes);
  std::vector<std::byte> to(from.size());
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), from.size());
    benchmark::ClobberMemory();
  }
  SetRate(state);
}
BENCHMARK(BM_Copy)->UseRealTime();

}  // namespace
}  // namespace skv::kvstore
