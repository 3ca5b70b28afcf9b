#include "bench/kvstore/replay.h"

#include <cstring>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "common/log.h"
#include "kvstore/index/entry_table.h"

namespace skv::bench {
namespace {

using kvstore::Created;
using kvstore::EntryKey;

// Spread like the hashes that keys are.
EntryKey KeyOf(uint32_t sentence) {
  EntryKey key;
  const uint64_t words[2] = {(sentence + 1) * 0x9E3779B97F4A7C15u, sentence};
  std::memcpy(key.prefix.bytes.data(), words, sizeof words);
  return key;
}

class TableReplay {
 public:
  TableReplay(const Trace& trace, const kvstore::EntryTableOptions& options,
              std::unique_ptr<kvstore::EvictionOrder> order)
      : trace_(trace), table_(options, std::move(order)), session_(*table_.OpenSession()) {}

  void Ask(uint32_t tip, MissCount* count) {
    const std::vector<uint32_t> chain = trace_.ChainOf(tip);
    keys_.clear();
    for (const uint32_t sentence : chain) keys_.push_back(KeyOf(sentence));
    const auto hit = table_.Lookup(session_, 0, keys_, &blocks_);
    SKV_CHECK(hit.ok()) << hit.status().ToString();
    for (size_t i = 0; i < chain.size(); ++i) {
      const int64_t bytes = trace_.sentences[chain[i]].bytes;
      count->asked_bytes += bytes;
      ++count->asked_blocks;
      if (i < hit->num_entries) continue;
      count->missed_bytes += bytes;
      ++count->missed_blocks;
    }
    kvstore::LeaseId lease = hit->lease;
    bool held = hit->num_entries > 0;
    for (size_t i = hit->num_entries; i < chain.size(); ++i) {
      const auto written = Write(i, trace_.sentences[chain[i]].bytes, i + 1 == chain.size());
      if (!written.has_value()) break;
      if (held) Release(lease);
      lease = *written;
      held = true;
    }
    if (held) Release(lease);
    changes_.Clear();
  }

 private:
  // nullopt: the prompt alone is larger than the cache.
  std::optional<kvstore::LeaseId> Write(size_t i, int64_t bytes, bool is_tip) {
    kvstore::NewShard shard{.key = keys_[i], .bytes = bytes};
    if (i > 0) shard.parent = keys_[i - 1].prefix;
    const auto created = table_.Create(session_, shard, {}, &changes_);
    if (!created.ok()) {
      SKV_CHECK(absl::IsResourceExhausted(created.status()) ||
                absl::IsInvalidArgument(created.status()))
          << created.status().ToString();
      return std::nullopt;
    }
    SKV_CHECK(created->outcome == Created::Outcome::kCreated);
    SKV_CHECK(table_.Place(session_, created->lease, 0).ok());
    SKV_CHECK(table_.Seal(session_, created->lease, is_tip, &changes_).ok());
    return created->lease;
  }
  void Release(kvstore::LeaseId lease) {
    SKV_CHECK(table_.Release(session_, lease, &changes_).ok());
  }

  const Trace& trace_;
  kvstore::EntryTable table_;
  const kvstore::SessionId session_;
  std::vector<EntryKey> keys_;
  std::vector<kvstore::ShardBytes> blocks_;
  kvstore::Changes changes_;
};

constexpr uint32_t kNever = UINT32_MAX;

// For each sentence of each prompt, in order, which prompt asks for it next.
std::vector<std::vector<uint32_t>> NextUses(const Trace& trace) {
  std::vector<std::vector<uint32_t>> next_uses(trace.requests.size());
  std::vector<uint32_t> next_use(trace.sentences.size(), kNever);
  for (size_t i = trace.requests.size(); i > 0; --i) {
    for (const uint32_t sentence : trace.ChainOf(trace.requests[i - 1])) {
      next_uses[i - 1].push_back(next_use[sentence]);
      next_use[sentence] = static_cast<uint32_t>(i - 1);
    }
  }
  return next_uses;
}

}  // namespace

MissCount Replay(
    const Trace& trace, int64_t capacity_bytes,
    absl::FunctionRef<std::unique_ptr<kvstore::EvictionOrder>(const kvstore::OrderOptions&)>
        create_order) {
  kvstore::EntryTableOptions options;
  options.capacity_bytes = capacity_bytes;
  options.max_entries = static_cast<uint32_t>(trace.sentences.size());
  options.max_shards = options.max_entries;
  options.leases.max_leases = options.leases.max_leases_per_session = 16;
  TableReplay replay(trace, options, create_order(options.order()));
  MissCount count;
  for (const uint32_t tip : trace.requests) replay.Ask(tip, &count);
  return count;
}

MissCount ReplayBelady(const Trace& trace, int64_t capacity_bytes) {
  const std::vector<std::vector<uint32_t>> next_uses = NextUses(trace);
  using Rank = std::tuple<uint32_t, uint32_t, uint32_t>;  // next use, depth, sentence
  std::set<Rank> cached;
  std::vector<uint32_t> key_of(trace.sentences.size());
  std::vector<bool> is_cached(trace.sentences.size());
  int64_t cached_bytes = 0;
  MissCount count;
  for (size_t i = 0; i < trace.requests.size(); ++i) {
    const std::vector<uint32_t> chain = trace.ChainOf(trace.requests[i]);
    for (size_t depth = 0; depth < chain.size(); ++depth) {
      const uint32_t sentence = chain[depth];
      const int64_t bytes = trace.sentences[sentence].bytes;
      count.asked_bytes += bytes;
      ++count.asked_blocks;
      if (is_cached[sentence]) {
        cached.erase({key_of[sentence], static_cast<uint32_t>(depth), sentence});
      } else {
        count.missed_bytes += bytes;
        ++count.missed_blocks;
        cached_bytes += bytes;
      }
      is_cached[sentence] = true;
      key_of[sentence] = next_uses[i][depth];
      cached.emplace(key_of[sentence], static_cast<uint32_t>(depth), sentence);
    }
    while (!cached.empty() &&
           (cached_bytes > capacity_bytes || std::get<0>(*cached.rbegin()) == kNever)) {
      const uint32_t sentence = std::get<2>(*cached.rbegin());
      cached.erase(std::prev(cached.end()));
      is_cached[sentence] = false;
      cached_bytes -= trace.sentences[sentence].bytes;
    }
  }
  return count;
}

}  // namespace skv::bench
