#include "worker/policy/sentencekv_colm2025_policy.h"

#include "worker/policy/sentencekv_policy.h"

namespace skv::policy {

std::unique_ptr<KvPolicy> CreateSentenceKvColm2025Policy(const PolicyParams& params,
                                                         const SequenceShape& shape,
                                                         const std::vector<Sentence>* sentences) {
  PolicyParams published = params;
  if (published.semantic_factor == 0) published.semantic_factor = kColm2025Factor;
  return CreateSentenceKvPolicy(published, shape, sentences, kColm2025Options);
}

}  // namespace skv::policy
