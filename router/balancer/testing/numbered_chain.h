#pragma once
// Prompts made of numbers instead of text.

#include <initializer_list>
#include <utility>
#include <vector>

#include "common/block_key.h"

namespace skv::router {

// `count` sentences of which the first bears the number `first`, the next `first` + 1, ...
struct NumberedSentences {
  int first;
  int count;
};

// The sentences of all parts in turn, each of `sentence_tokens` tokens: chains that begin with the
// same numbers have equal keys up to where they part.
inline PrefixChain NumberedChain(const std::vector<NumberedSentences>& parts,
                                 int sentence_tokens = 10) {
  PrefixChain chain;
  PrefixKey parent = RootKey({.model_name = "test"});
  for (const NumberedSentences& part : parts) {
    for (int i = 0; i < part.count; ++i) {
      const TokenId token = part.first + i;
      parent = ChildKey(parent, {&token, 1});
      chain.keys.push_back(parent);
      chain.ends.push_back(static_cast<int>(chain.keys.size()) * sentence_tokens);
    }
  }
  return chain;
}

}  // namespace skv::router
