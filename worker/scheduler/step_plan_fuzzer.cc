// Every byte string is either refused with DataLoss or decodes to a well-formed plan that encodes
// to the very same bytes. Seeds: tests/fuzz/write_step_plan_corpus.py; found_* are the fuzzer's
// inputs that reached new code.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "worker/scheduler/step_plan.h"

namespace skv::scheduler {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void RequireWellFormedPrefix(const Admission& admission) {
  if (admission.prompt_ids.empty()) {
    Require(admission.prefix_root == PrefixKey() && admission.max_cached_tokens == 0);
    return;
  }
  const auto num_prompt_tokens = static_cast<size_t>(admission.num_prompt_tokens);
  Require(admission.prompt_ids.size() == num_prompt_tokens);
  for (const TokenId token : admission.prompt_ids) Require(token >= 0);
  Require(admission.max_cached_tokens >= 1);
  Require(admission.max_cached_tokens < admission.num_prompt_tokens);
}

void RequireWellFormed(const StepPlan& plan) {
  Require(plan.step_idx >= 0);
  for (const Admission& admission : plan.admitted) {
    Require(admission.num_prompt_tokens >= 1);
    Require(admission.max_tokens_total >= admission.num_prompt_tokens);
    int last = 0;
    for (const int end : admission.sentence_ends) Require(end > std::exchange(last, end));
    Require(last <= admission.num_prompt_tokens);
    Require(skv::policy::Validate(admission.policy).ok());
    RequireWellFormedPrefix(admission);
  }
  for (const Fork& fork : plan.forked) {
    Require(fork.child != fork.parent);
    Require(fork.num_shared_tokens >= 1 && fork.max_tokens_total >= fork.num_shared_tokens);
  }
  size_t num_tokens = 0;
  for (const Chunk& chunk : plan.chunks) {
    Require(chunk.first_position >= 0 && chunk.num_tokens >= 1);
    Require(int64_t{chunk.first_position} + chunk.num_tokens <= INT32_MAX);
    num_tokens += chunk.num_tokens;
  }
  Require(plan.tokens.size() == num_tokens);
  for (const TokenId token : plan.tokens) Require(token >= 0);
}

}  // namespace
}  // namespace skv::scheduler

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skv::scheduler;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto plan = Decode(bytes);
  if (!plan.ok()) {
    Require(plan.status().code() == absl::StatusCode::kDataLoss);
    return 0;
  }
  RequireWellFormed(*plan);
  Require(Encode(*plan) == bytes);
  return 0;
}
