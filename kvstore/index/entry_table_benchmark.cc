// What the entry table takes from a core: leases of long chains among a million entries, and what
// the end of a session costs the others.

#include <random>
#include <vector>

#include "benchmark/benchmark.h"
#include "kvstore/index/entry_table.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/index/testing/numbered_keys.h"

namespace skv::kvstore {
namespace {

constexpr uint32_t kChain = 400;

// Chains of 400 sentences; chain c has the numbers from 400 c on.
struct Store {
  Store(uint32_t num_entries, bool s3fifo)
      : options(Options(num_entries)),
        table(options,
              s3fifo ? CreateS3FifoOrder(options.order()) : CreateLruOrder(options.order())),
        session(*table.OpenSession()),
        num_chains(num_entries / kChain) {
    for (uint32_t i = 0; i < num_chains * kChain; ++i) {
      NewShard shard{.key = KeyOfNumber(i), .bytes = 1};
      if (i % kChain != 0) shard.parent = KeyOfNumber(i - 1).prefix;
      Write(shard);
    }
  }
  static EntryTableOptions Options(uint32_t num_entries) {
    EntryTableOptions options;
    options.capacity_bytes = num_entries;
    options.max_entries = options.max_shards = num_entries;
    options.leases.max_leases = options.leases.max_leases_per_session = 1 << 20;
    return options;
  }
  void Write(const NewShard& shard) {
    const LeaseId lease = table.Create(session, shard, {}, &changes)->lease;
    table.Place(session, lease, 0).IgnoreError();
    table.Seal(session, lease, false, &changes).IgnoreError();
    table.Release(session, lease, &changes).IgnoreError();
    changes.Clear();
  }
  // The keys of a chain of which `num_hits` are there.
  void ChainKeys(uint32_t chain, uint32_t num_hits, std::vector<EntryKey>* keys) const {
    keys->clear();
    for (uint32_t i = 0; i < kChain; ++i) {
      keys->push_back(KeyOfNumber(i < num_hits ? chain * kChain + i : UINT32_MAX - i));
    }
  }

  const EntryTableOptions options;
  EntryTable table;
  const SessionId session;
  const uint32_t num_chains;
  Changes changes;
};

void LeaseAndReleaseChains(benchmark::State& bench_state) {
  Store store(1000000, bench_state.range(0) != 0);
  std::mt19937 random(1);
  std::vector<std::vector<EntryKey>> chains(2000);
  for (auto& keys : chains) store.ChainKeys(random() % store.num_chains, kChain * 9 / 10, &keys);
  std::vector<ShardBytes> blocks;
  int64_t num_blocks = 0;
  size_t i = 0;
  for (auto _ : bench_state) {
    const Hit hit = *store.table.Lookup(store.session, 0, chains[i++ % chains.size()], &blocks);
    num_blocks += hit.num_entries;
    store.table.Release(store.session, hit.lease, &store.changes).IgnoreError();
  }
  bench_state.counters["blocks_leased_and_released"] =
      benchmark::Counter(static_cast<double>(num_blocks), benchmark::Counter::kIsRate);
}
BENCHMARK(LeaseAndReleaseChains)->ArgName("s3fifo")->Arg(1)->Arg(0);

// Each new sentence evicts one.
void WriteIntoAFullStore(benchmark::State& bench_state) {
  Store store(1000000, bench_state.range(0) != 0);
  uint32_t number = 1 << 30;
  for (auto _ : bench_state) {
    NewShard shard{.key = KeyOfNumber(number), .bytes = 1};
    if (number % kChain != 0 && number != 1 << 30) shard.parent = KeyOfNumber(number - 1).prefix;
    ++number;
    store.Write(shard);
  }
}
BENCHMARK(WriteIntoAFullStore)->ArgName("s3fifo")->Arg(1)->Arg(0);

// A session with 10,000 leases ends among so many entries: all others wait that long.
void EndOfASession(benchmark::State& bench_state) {
  Store store(static_cast<uint32_t>(bench_state.range(0)), true);
  std::mt19937 random(1);
  std::vector<ShardBytes> blocks;
  for (auto _ : bench_state) {
    bench_state.PauseTiming();
    const SessionId session = *store.table.OpenSession();
    for (int i = 0; i < 10000; ++i) {
      const EntryKey key = KeyOfNumber(random() % (store.num_chains * kChain));
      store.table.Lookup(session, 0, {key}, &blocks).IgnoreError();
    }
    bench_state.ResumeTiming();
    store.table.CloseSession(session, &store.changes).IgnoreError();
  }
}
BENCHMARK(EndOfASession)
    ->ArgName("entries")
    ->Arg(1000000)
    ->Arg(10000000)
    ->Iterations(20)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace skv::kvstore
