#include "worker/prefix/testing/prompt_run.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "common/log.h"

namespace skv::prefix {

TestPrompt MakePrompt(const std::vector<int>& lengths, int num_tail_tokens, TokenId first) {
  TestPrompt prompt;
  int end = 0;
  for (const int length : lengths) prompt.sentence_ends.push_back(end += length);
  prompt.tokens.resize(end + num_tail_tokens);
  std::iota(prompt.tokens.begin(), prompt.tokens.end(), first);
  return prompt;
}

PromptRun::PromptRun(kv::KvPool* pool, const TestPrompt& prompt, PrefixCache::Hit hit)
    : tokens_(prompt.tokens),
      cache_(std::make_unique<kv::SequenceCache>(pool, prompt.size(), prompt.sentence_ends)) {
  cache_->UsePrompt(std::move(hit.blocks), hit.num_cached_tokens);
}

void PromptRun::ComputeTo(int end) {
  const int begin = cache_->num_computed();
  SKV_CHECK(cache_->Reserve(end - begin).ok());
  for (int position = begin; position < end; ++position) {
    const kv::RowPointers row = cache_->Row(0, 0, position);
    std::memset(row.k, tokens_[position], kTestLayout.RowBytes());
    std::memset(row.v, tokens_[position] + 1, kTestLayout.RowBytes());
  }
  cache_->Commit();
}

bool PromptRun::IsRight(int end) const {
  for (int position = 0; position < end; ++position) {
    const kv::RowPointers row = cache_->Row(0, 0, position);
    const auto is_all = [](const std::byte* bytes, int value) {
      return std::all_of(bytes, bytes + kTestLayout.RowBytes(),
                         [value](std::byte b) { return b == static_cast<std::byte>(value); });
    };
    if (!is_all(row.k, tokens_[position]) || !is_all(row.v, tokens_[position] + 1)) return false;
  }
  return true;
}

}  // namespace skv::prefix
