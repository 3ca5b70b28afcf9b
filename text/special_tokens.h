#pragma once
// Finds the tokens that stand for themselves in a text: control tokens such as <|im_end|>, and
// user-defined ones.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/types.h"

namespace skv::text {

// Immutable once filled, then thread-safe.
class SpecialTokenMatcher {
 public:
  struct Match {
    size_t begin;
    size_t end;
    TokenId id;
  };

  // Order among tokens of equal length is the order of Add. REQUIRES: `text` is not empty and was
  // not added before.
  void Add(std::string_view text, TokenId id, bool is_control);

  // Non-overlapping matches by position. As in llama.cpp a longer token wins against a shorter one
  // that it overlaps wherever it stands, then the one further left. With parse_control false only
  // the tokens added with is_control false are found. Time: text.size() times the longest match.
  std::vector<Match> FindAll(std::string_view text, bool parse_control) const;

 private:
  struct Entry {
    size_t length;
    TokenId id;
    bool is_control;
  };
  struct Node {
    std::vector<std::pair<char, int32_t>> children;
    int32_t entry_idx = -1;
  };

  int32_t Child(int32_t node_idx, char c) const;

  std::vector<Entry> entries_;
  std::vector<Node> nodes_{1};  // a trie over the texts; 0 is its root
};

}  // namespace skv::text
