#include "worker/policy/chunk_policy.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "worker/policy/importance.h"
#include "worker/policy/prompt_eviction.h"
#include "worker/policy/sentence_choice.h"

namespace skv::policy {
namespace {

constexpr int kChunkTokens = 16;
constexpr int kLayersAlike = 2;

std::vector<PositionRange> KeptChunks(const ImportanceShape& shape, const KvReader& kv,
                                      const std::vector<float>& queries, int num_kept) {
  const std::vector<float> attention = WindowAttention(shape, kv, queries, Pooling::kNone);
  const int before = static_cast<int>(attention.size());
  std::vector<PositionRange> chunks, kept;
  std::vector<float> sums;
  for (int begin = 0; begin < before; begin += kChunkTokens) {
    const int end = std::min(begin + kChunkTokens, before);
    chunks.push_back({begin, end});
    sums.push_back(std::accumulate(attention.begin() + begin, attention.begin() + end, 0.0f));
  }
  ChooseSentences(chunks, sums, num_kept - shape.window, &kept);
  kept.push_back({before, shape.num_prompt_tokens});
  return kept;
}

}  // namespace

std::unique_ptr<KvPolicy> CreateChunkPolicy(const PolicyParams& params, const SequenceShape& shape,
                                            const std::vector<Sentence>*) {
  const int budget = params.budget_tokens;
  PromptEvictionRule rule = {
      .window = ObservationWindow(budget), .keep = KeptChunks, .layers_alike = kLayersAlike};
  if (shape.num_prompt_tokens > budget) rule.num_kept.assign(shape.num_layers, budget);
  return CreatePromptEviction(shape, std::move(rule));
}

}  // namespace skv::policy
