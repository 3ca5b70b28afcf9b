#pragma once
// What `snapkv`, `pyramidkv` and `chunk` share: when the prompt ends, each layer keeps the prompt
// tokens that its last queries attend most (worker/policy/importance.h) and evicts the others; what
// is generated is kept. A query thus attends the kept tokens of the prompt and every generated one
// up to itself.

#include <memory>
#include <vector>

#include "worker/policy/importance.h"
#include "worker/policy/kv_policy.h"

namespace skv::policy {

// The `num_kept` tokens of the prompt that one layer and KV head keeps, those of the window among
// them: sorted, disjoint. Arguments are those of ImportantPositions.
using KeptPrompt = std::vector<PositionRange>(const ImportanceShape& shape, const KvReader& kv,
                                              const std::vector<float>& queries, int num_kept);

// ImportantPositions, as ranges.
KeptPrompt KeepImportantTokens;

struct PromptEvictionRule {
  int window;  // the last queries of the prompt, which rank it and whose own tokens are kept
  // [num_layers] prompt tokens of each KV head, window <= num_kept[l] <= num_prompt_tokens; empty:
  // all of the prompt is kept.
  std::vector<int> num_kept = {};
  KeptPrompt* keep = KeepImportantTokens;
  int layers_alike = 1;  // that many in a row keep what the first of them keeps
};
std::unique_ptr<KvPolicy> CreatePromptEviction(const SequenceShape& shape, PromptEvictionRule rule);

// The window of a prompt that is cut to the budget; no query tells anything of one that is not.
PromptQueryCount WindowQueries;

}  // namespace skv::policy
