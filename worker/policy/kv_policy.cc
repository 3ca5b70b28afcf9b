#include "worker/policy/kv_policy.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/policy/full_policy.h"

namespace skv::policy {

absl::StatusOr<std::unique_ptr<KvPolicy>> CreatePolicy(std::string_view name) {
  if (name == "full") return CreateFullPolicy();
  return absl::InvalidArgumentError(
      absl::StrCat("KV policy \"", Sv(name), "\" is unknown; expected full"));
}

}  // namespace skv::policy
