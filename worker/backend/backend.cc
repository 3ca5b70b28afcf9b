#include "worker/backend/backend.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::backend {

absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(std::string_view name, int num_threads) {
  if (name == "cpu") return CreateCpuBackend(num_threads);
  if (name == "ref") return CreateRefBackend(num_threads);
  return absl::InvalidArgumentError(
      absl::StrCat("--backend: \"", Sv(name), "\" is unknown; expected cpu or ref"));
}

}  // namespace skv::backend
