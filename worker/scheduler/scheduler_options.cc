#include "worker/scheduler/scheduler_options.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::scheduler {
namespace {

absl::Status CheckAtLeastOne(std::string_view flag, int64_t value) {
  if (value >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(Sv(flag), " is ", value, ", expected at least 1"));
}

}  // namespace

absl::Status SchedulerOptions::Validate() const {
  SKV_RETURN_IF_ERROR(CheckAtLeastOne(
      absl::StrCat("KV capacity in tokens (", Sv(capacity_flag), ")"), capacity_tokens));
  SKV_RETURN_IF_ERROR(CheckAtLeastOne("unit_tokens", unit_tokens));
  SKV_RETURN_IF_ERROR(CheckAtLeastOne("page_tokens", page_tokens));
  SKV_RETURN_IF_ERROR(CheckAtLeastOne("--max-num-seqs", max_num_seqs));
  SKV_RETURN_IF_ERROR(CheckAtLeastOne("max_chunk_tokens", max_chunk_tokens));
  SKV_RETURN_IF_ERROR(CheckAtLeastOne("--max-queue", max_queue));
  if (max_num_batched_tokens >= max_num_seqs) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--max-num-batched-tokens is ", max_num_batched_tokens,
                   ", expected at least --max-num-seqs, ", max_num_seqs));
}

}  // namespace skv::scheduler
