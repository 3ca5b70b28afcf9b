#pragma once
// Byte pair encoding of one word: merges the best ranked pair of neighbours, leftmost first, until
// no pair of neighbours can be merged.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/types.h"

namespace skv::text {

// One rule; its rank is its place in the list. Ids are those of the vocabulary.
struct MergeRule {
  TokenId left;
  TokenId right;
  TokenId result;
};

// Immutable and thread-safe; a Scratch serves one thread at a time.
class BytePairMerger {
 public:
  // Longer words are refused by the caller: a word of n bytes takes up to 44 n bytes of scratch.
  static constexpr size_t kMaxWordBytes = size_t{16} << 20;

  // Memory that is kept from one word to the next.
  class Scratch {
   private:
    friend class BytePairMerger;
    struct Symbol {
      TokenId id;    // -1: a byte without a token, which merges with nothing
      int32_t prev;  // -1: none
      int32_t next;
      bool is_merged;  // into its left neighbour
    };
    std::vector<Symbol> symbols_;
    std::vector<uint64_t> queue_;  // heap of rank << 32 | index of the left symbol
  };

  // `byte_ids`: the token of each of the 256 bytes, -1 where there is none.
  BytePairMerger(std::vector<TokenId> byte_ids, std::vector<MergeRule> rules);

  // Appends the ids of `word`; a byte without a token is left out, as llama.cpp does.
  // O(n log n). REQUIRES: word.size() <= kMaxWordBytes.
  void Encode(std::string_view word, Scratch* scratch, std::vector<TokenId>* ids) const;

 private:
  void Enqueue(int32_t left, Scratch* scratch) const;
  void Merge(int32_t left, TokenId result, Scratch* scratch) const;

  const std::vector<TokenId> byte_ids_;
  const std::vector<MergeRule> rules_;
  absl::flat_hash_map<uint64_t, uint32_t> rank_by_pair_;
};

}  // namespace skv::text
