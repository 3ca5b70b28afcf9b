#include "text/byte_pair_merger.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace skv::text {
namespace {

uint64_t PairKey(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

BytePairMerger::BytePairMerger(std::vector<TokenId> byte_ids, std::vector<MergeRule> rules)
    : byte_ids_(std::move(byte_ids)), rules_(std::move(rules)) {
  rank_by_pair_.reserve(rules_.size());
  for (size_t rank = 0; rank < rules_.size(); ++rank) {
    rank_by_pair_.emplace(PairKey(rules_[rank].left, rules_[rank].right),
                          static_cast<uint32_t>(rank));
  }
}

void BytePairMerger::Enqueue(int32_t left, Scratch* scratch) const {
  if (left < 0) return;
  const int32_t right = scratch->symbols_[left].next;
  if (right < 0) return;
  const auto it =
      rank_by_pair_.find(PairKey(scratch->symbols_[left].id, scratch->symbols_[right].id));
  if (it == rank_by_pair_.end()) return;
  scratch->queue_.push_back(static_cast<uint64_t>(it->second) << 32 | static_cast<uint32_t>(left));
  std::push_heap(scratch->queue_.begin(), scratch->queue_.end(), std::greater<>());
}

void BytePairMerger::Merge(int32_t left, TokenId result, Scratch* scratch) const {
  Scratch::Symbol& symbol = scratch->symbols_[left];
  Scratch::Symbol& right = scratch->symbols_[symbol.next];
  right.is_merged = true;
  symbol.id = result;
  symbol.next = right.next;
  if (right.next >= 0) scratch->symbols_[right.next].prev = left;
  Enqueue(symbol.prev, scratch);
  Enqueue(left, scratch);
}

void BytePairMerger::Encode(std::string_view word, Scratch* scratch,
                            std::vector<TokenId>* ids) const {
  auto& symbols = scratch->symbols_;
  auto& queue = scratch->queue_;
  symbols.clear();
  queue.clear();
  const auto num_symbols = static_cast<int32_t>(word.size());
  for (int32_t i = 0; i < num_symbols; ++i) {
    const TokenId id = byte_ids_[static_cast<unsigned char>(word[i])];
    symbols.push_back({id, i - 1, i + 1 < num_symbols ? i + 1 : -1, false});
  }
  for (int32_t i = 0; i < num_symbols; ++i) Enqueue(i, scratch);
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const MergeRule& rule = rules_[queue.back() >> 32];
    const auto left = static_cast<int32_t>(queue.back() & 0xFFFFFFFF);
    queue.pop_back();
    // An earlier merge may have taken either side; then the pair that was queued is gone.
    const Scratch::Symbol& symbol = symbols[left];
    if (symbol.is_merged || symbol.id != rule.left || symbol.next < 0) continue;
    if (symbols[symbol.next].id != rule.right) continue;
    Merge(left, rule.result, scratch);
  }
  for (int32_t i = 0; i >= 0 && i < num_symbols; i = symbols[i].next) {
    if (symbols[i].id >= 0) ids->push_back(symbols[i].id);
  }
}

}  // namespace skv::text
