#include "worker/policy/sentencekv_colm2025_policy.h"

#include "worker/policy/sentencekv_policy.h"

namespace skv::policy {
namespace {

PolicyParams Published(PolicyParams params) {
  if (params.semantic_factor == 0) params.semantic_factor = kColm2025Factor;
  return params;
}

}  // namespace

std::unique_ptr<KvPolicy> CreateSentenceKvColm2025Policy(const PolicyParams& params,
                                                         const SequenceShape& shape,
                                                         const std::vector<Sentence>* sentences) {
  return CreateSentenceKvPolicy(Published(params), shape, sentences, kColm2025Options);
}

int Colm2025Queries(const PolicyParams& params, int num_prompt_tokens) {
  return SentenceKvQueries(Published(params), num_prompt_tokens, kColm2025Options);
}

}  // namespace skv::policy
