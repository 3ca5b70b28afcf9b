// How full a full arena stays under S3-FIFO, and what a block takes from a core from Create to
// Release: sentences of 4 to 128 tokens (mean 20) of 23,040 bytes each, in chains. A tenth of the
// arena is held by leases on whole chains, ended in random order. Payloads are not written.
//
//   live_min, live_mean   live share of the arena after each chain, once it was full
//   widening, refused     evictions of neighbours of victims, and blocks that found no room, of
//                         all evicted and all asked for

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <ctime>
#include <random>
#include <vector>

#include "benchmark/benchmark.h"
#include "common/log.h"
#include "kvstore/block/block_header.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/store/block_store.h"

namespace skv::kvstore {
namespace {

constexpr uint64_t kArenaBytes = uint64_t{4} << 30;
constexpr uint64_t kTokenBytes = 23040;
constexpr int64_t kNumBlocks = 1 << 20;
constexpr int kBlocksTogether = 1024;  // between two looks at the time
constexpr uint64_t kLeasedBytes = kArenaBytes / 10;
constexpr uint64_t kPiece = 16;  // blocks of one Create

double CpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Address space; only where headers are written is there memory.
class LazyMemory {
 public:
  LazyMemory() {
    void* data = mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    SKV_CHECK(data != MAP_FAILED);
    bytes = {static_cast<std::byte*>(data), kArenaBytes};
  }
  ~LazyMemory() { munmap(bytes.data(), bytes.size()); }
  LazyMemory(const LazyMemory&) = delete;
  LazyMemory& operator=(const LazyMemory&) = delete;
  std::span<std::byte> bytes;
};

BlockStoreOptions Options(double widen_below) {
  BlockStoreOptions options;
  options.index.capacity_bytes = kArenaBytes;
  options.index.max_entries = options.index.max_shards = 1 << 18;
  options.index.leases.max_leases_per_session = 1 << 18;
  options.widen_below = widen_below;
  return options;
}

struct Sentence {
  NewBlock block;
  std::array<std::byte, kMaxHeaderBytes> header;
};
using Chain = std::vector<Sentence>;

class Churn {
 public:
  Churn(int chain_length, double widen_below)
      : chain_length_(chain_length),
        options_(Options(widen_below)),
        store_(options_, CreateS3FifoOrder(options_.index.order()), memory_.bytes),
        session_(*store_.OpenSession()) {}

  Chain Draw() {
    Chain chain(chain_length_);
    PrefixKey parent;
    for (int i = 0; i < chain_length_; ++i) {
      std::lognormal_distribution<double> tokens(std::log(17.0), 0.6);
      const int num_tokens = std::clamp(static_cast<int>(tokens(random_)), 4, kMaxBlockTokens);
      BlockHeader header{
          .parent = parent, .is_first = i == 0, .tokens = std::vector<TokenId>(num_tokens)};
      for (TokenId& token : header.tokens) token = static_cast<TokenId>(random_() >> 34);
      header.id.prefix = ChildKey(parent, header.tokens);
      header.payload_bytes = num_tokens * kTokenBytes;
      SKV_CHECK(EncodeBlockHeader(header, chain[i].header).ok());
      chain[i].block = {.key = {header.id.prefix, header.id.layout},
                        .parent = parent,
                        .is_first = i == 0,
                        .num_tokens = num_tokens,
                        .payload_bytes = header.payload_bytes};
      parent = header.id.prefix;
    }
    return chain;
  }

  // Create and Seal in pieces, Get of the whole chain, Release.
  void Store(const Chain& chain) {
    leases_.clear();
    keys_.clear();
    for (size_t begin = 0; begin < chain.size(); begin += kPiece) {
      if (!StorePiece(chain, begin, std::min<size_t>(chain.size(), begin + kPiece))) break;
    }
    const Hit hit = store_.Get(session_, 0, keys_, &blocks_).value();
    SKV_CHECK(hit.num_entries == leases_.size());
    SKV_CHECK(store_.Release(session_, leases_).ok());
    if (hit.num_entries > 0) Hold(hit.lease);
    store_.TakeNews();
    Sample();
  }

  void Report(benchmark::State& bench_state) const {
    const BlockStoreGauges gauges = store_.gauges();
    bench_state.counters["live_min"] = live_min_;
    bench_state.counters["live_mean"] = live_sum_ / static_cast<double>(num_samples_);
    bench_state.counters["blocks"] = static_cast<double>(gauges.num_blocks);
    bench_state.counters["widening"] =
        static_cast<double>(gauges.num_widening) / static_cast<double>(gauges.index.num_evicted);
    bench_state.counters["refused"] =
        static_cast<double>(num_refused_) / static_cast<double>(num_asked_);
  }

 private:
  struct Holding {
    LeaseId lease;
    uint64_t num_bytes;
  };

  bool StorePiece(const Chain& chain, size_t begin, size_t end) {
    piece_.clear();
    for (size_t i = begin; i < end; ++i) piece_.push_back(chain[i].block);
    const auto created = store_.Create(session_, piece_, {});
    const size_t first_lease = leases_.size();
    for (size_t i = begin; i < end; ++i) {
      const auto& block = created[i - begin];
      ++num_asked_;
      if (!block.ok()) {
        num_refused_ += absl::IsResourceExhausted(block.status()) ? 1 : 0;
        continue;
      }
      std::memcpy(&memory_.bytes[block->offset], chain[i].header.data(),
                  HeaderBytes(chain[i].block.num_tokens));
      leases_.push_back(block->lease);
      keys_.push_back(chain[i].block.key);
    }
    const auto fresh = absl::MakeConstSpan(leases_).subspan(first_lease);
    for (const auto& sealed : store_.Seal(session_, fresh, end == chain.size())) {
      SKV_CHECK(sealed.ok());
    }
    return leases_.size() - first_lease == end - begin;
  }

  // One chain in ten stays leased.
  void Hold(LeaseId lease) {
    uint64_t num_bytes = 0;
    for (const ShardBytes& block : blocks_) num_bytes += block.bytes;
    if (random_() % 10 != 0) {
      SKV_CHECK(store_.Release(session_, {lease}).ok());
      return;
    }
    held_.push_back({lease, num_bytes});
    held_bytes_ += num_bytes;
    while (held_bytes_ > kLeasedBytes) {
      std::swap(held_[random_() % held_.size()], held_.back());
      SKV_CHECK(store_.Release(session_, {held_.back().lease}).ok());
      held_bytes_ -= held_.back().num_bytes;
      held_.pop_back();
    }
  }

  void Sample() {
    const BlockStoreGauges gauges = store_.gauges();
    if (gauges.index.num_evicted == 0) return;
    const double live =
        static_cast<double>(gauges.live_bytes) / static_cast<double>(gauges.arena_bytes);
    live_min_ = std::min(live_min_, live);
    live_sum_ += live;
    ++num_samples_;
  }

  const int chain_length_;
  const BlockStoreOptions options_;
  LazyMemory memory_;
  BlockStore store_;
  const SessionId session_;
  std::mt19937_64 random_{1};
  std::vector<NewBlock> piece_;
  std::vector<LeaseId> leases_;
  std::vector<EntryKey> keys_;
  std::vector<ShardBytes> blocks_;
  std::vector<Holding> held_;
  uint64_t held_bytes_ = 0;
  int64_t num_asked_ = 0, num_refused_ = 0, num_samples_ = 0;
  double live_min_ = 1, live_sum_ = 0;
};

void StoreIntoAFullArena(benchmark::State& bench_state) {
  const int chain_length = static_cast<int>(bench_state.range(0));
  Churn churn(chain_length, static_cast<double>(bench_state.range(1)) / 100);
  std::vector<Chain> chains;
  for (auto _ : bench_state) {
    chains.clear();
    for (int i = 0; i < kBlocksTogether; i += chain_length) chains.push_back(churn.Draw());
    const double begin = CpuSeconds();
    for (const Chain& chain : chains) churn.Store(chain);
    const auto num_blocks = static_cast<double>(chains.size() * chain_length);
    bench_state.SetIterationTime((CpuSeconds() - begin) / num_blocks);
  }
  churn.Report(bench_state);
}
BENCHMARK(StoreIntoAFullArena)
    ->ArgNames({"chain", "widen_below_percent"})
    ->Args({1, 95})
    ->Args({20, 95})
    ->Args({400, 95})
    ->Args({1, 0})
    ->Args({20, 0})
    ->Args({400, 0})
    ->Iterations(kNumBlocks / kBlocksTogether)
    ->UseManualTime()
    ->Unit(benchmark::kNanosecond);

}  // namespace
}  // namespace skv::kvstore
