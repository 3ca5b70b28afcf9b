#include "worker/policy/kv_policy.h"

#include "common/status.h"
#include "worker/policy/full_policy.h"
#include "worker/policy/sentencekv_policy.h"

namespace skv::policy {

absl::StatusOr<std::unique_ptr<KvPolicy>> CreatePolicy(const PolicyParams& params,
                                                       const SequenceShape& shape,
                                                       const std::vector<Sentence>* sentences) {
  SKV_RETURN_IF_ERROR(Validate(params));
  if (params.name == "sentencekv") return CreateSentenceKvPolicy(params, shape, sentences);
  return CreateFullPolicy();
}

}  // namespace skv::policy
