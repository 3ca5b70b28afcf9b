#include "worker/policy/kv_policy.h"

#include <algorithm>
#include <string_view>

#include "common/status.h"
#include "worker/policy/policy_list.h"

namespace skv::policy {

#define SKV_DECLARE_CREATOR(name, creator, parameters) PolicyCreator creator;
SKV_KV_POLICIES(SKV_DECLARE_CREATOR)
#undef SKV_DECLARE_CREATOR

namespace {

struct NamedCreator {
  std::string_view name;
  PolicyCreator* create;
};

constexpr NamedCreator kCreators[] = {
#define SKV_NAMED_CREATOR(name, creator, parameters) {name, creator},
    SKV_KV_POLICIES(SKV_NAMED_CREATOR)
#undef SKV_NAMED_CREATOR
};

}  // namespace

absl::StatusOr<std::unique_ptr<KvPolicy>> CreatePolicy(const PolicyParams& params,
                                                       const SequenceShape& shape,
                                                       const std::vector<Sentence>* sentences) {
  SKV_RETURN_IF_ERROR(Validate(params));
  const auto* const found = std::ranges::find(kCreators, params.name, &NamedCreator::name);
  return found->create(params, shape, sentences);
}

}  // namespace skv::policy
