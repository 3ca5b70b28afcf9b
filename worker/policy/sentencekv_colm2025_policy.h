#pragma once
// `sentencekv_colm2025`: SentenceKV as it was published (arXiv 2504.00970, COLM 2025), to compare
// with. It is `sentencekv` (worker/policy/sentencekv_policy.h) with other options:
//   - a sentence stands for the mean of its kept keys, and is attended whole
//   - it is asked for by the mean query of the generated tokens of the sentence being written
//   - a query that ends a sentence, and the first one of each sentence, attend every kept token
//   - a semantic factor of 0 is the published 3. With so large a budget times factor that the
//     prompt fits, nothing is filtered.
//
// Otherwise than in the public code (zzbright1998/SentenceKV): one selection for a KV head, by the
// mean score of its query heads, where that code repeats keys and values for every query head; the
// unfinished sentence is attended as far as the budget goes, there the last 32 tokens only;
// sentences end where our segmenter says, there at listed token ids, and where only the next token
// proves an end one query less attends everything; long sentences are split, there their tokens
// past a limit are dropped; the start is the sequence's, there that of the kept tokens; a sentence
// without a kept token is absent, there a vector of zeros; vectors have 4 bits. A budget below 256
// has fewer start and recent tokens (BudgetSplit).

#include <memory>
#include <vector>

#include "worker/policy/kv_policy.h"
#include "worker/policy/sentencekv_options.h"

namespace skv::policy {

inline constexpr SentenceKvOptions kColm2025Options = {.digest = Digest::kMean,
                                                       .boundary = Boundary::kFull,
                                                       .reduction = GroupReduction::kMeanScore,
                                                       .found_per_chosen = 1,
                                                       .least_of_mean = 0,
                                                       .prompt_queries = 0,
                                                       .blend_newest = false};
inline constexpr double kColm2025Factor = 3;

// REQUIRES: as CreateSentenceKvPolicy
std::unique_ptr<KvPolicy> CreateSentenceKvColm2025Policy(const PolicyParams& params,
                                                         const SequenceShape& shape,
                                                         const std::vector<Sentence>* sentences);
PromptQueryCount Colm2025Queries;

}  // namespace skv::policy
