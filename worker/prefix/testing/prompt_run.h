#pragma once
// Prompts, and sequences that compute them: each token's rows are bytes of the token's id.

#include <memory>
#include <vector>

#include "worker/kv/kv_pool.h"
#include "worker/kv/sequence_cache.h"
#include "worker/prefix/prefix_cache.h"

namespace skv::prefix {

// 128 bytes a token.
inline constexpr kv::KvLayout kTestLayout{
    .num_layers = 1, .num_kv_heads = 1, .head_dim = 32, .element_bytes = 2};
inline const PrefixKey kTestRoot = RootKey({.model_name = "test"});

struct TestPrompt {
  std::vector<TokenId> tokens;
  std::vector<int> sentence_ends;

  int size() const { return static_cast<int>(tokens.size()); }
  // All but the last token may be cached, unless said otherwise.
  PrefixRequest Request(SequenceId id, bool may_wait = true) const {
    return {.id = id,
            .root = kTestRoot,
            .tokens = tokens,
            .sentence_ends = sentence_ends,
            .max_cached_tokens = size() - 1,
            .may_wait = may_wait};
  }
};

// Sentences of these lengths, and `num_tail_tokens` without an end. Tokens are `first`, first + 1
// and so on.
TestPrompt MakePrompt(const std::vector<int>& lengths, int num_tail_tokens, TokenId first = 1);

// A sequence that has looked up.
class PromptRun {
 public:
  // The pool outlives the run.
  PromptRun(kv::KvPool* pool, const TestPrompt& prompt, PrefixCache::Hit hit);

  // Writes the positions up to `end`, and commits them.
  void ComputeTo(int end);
  // Whether all positions below `end` hold their tokens.
  bool IsRight(int end) const;
  std::byte* KeyAt(int position) const { return cache_->Row(0, 0, position).k; }
  const kv::SequenceCache& cache() const { return *cache_; }

 private:
  std::vector<TokenId> tokens_;
  std::unique_ptr<kv::SequenceCache> cache_;
};

}  // namespace skv::prefix
