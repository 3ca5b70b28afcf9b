// Any bytes as a skv.v1.GenerateRequest: parsed, validated and, when that is OK, admitted. Admitted
// requests must keep what workers rely on.
// Corpus: tests/fuzz/corpus/request, from tests/fuzz/write_request_corpus.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/log.h"
#include "grpcpp/support/slice.h"
#include "router/admission/validate.h"
#include "router/grpc/conversions.h"
#include "router/grpc/group_conversions.h"

namespace {

const skv::router::ModelLimits kLimits{
    .context_length = 512,
    .vocab_size = 300,
    .max_prompt_bytes = 4096,
    .kv_policies = {.default_name = "full",
                    .policies = {{"full"}, {"snapkv", 1024}, {"sentencekv", 1024, 0}}}};

void CheckAdmitted(const skv::router::GroupRequest& request) {
  SKV_CHECK(!request.prompt_ids.empty() && !request.seeds.empty());
  SKV_CHECK(request.max_tokens >= 1);
  SKV_CHECK(static_cast<int64_t>(request.prompt_ids.size()) + request.max_tokens <=
            kLimits.context_length);
  for (const auto& [id, bias] : request.sampling.logit_bias) {
    SKV_CHECK(id >= 0 && id < kLimits.vocab_size && std::isfinite(bias));
  }
  for (const skv::TokenId id : request.stop_token_ids) {
    SKV_CHECK(id >= 0 && id < kLimits.vocab_size);
  }
  SKV_CHECK(std::isfinite(request.sampling.temperature));
  const auto proto = skv::router::ToProto(request);
  SKV_CHECK(proto.sampling().top_p() > 0 && proto.sampling().top_p() <= 1);
  SKV_CHECK(proto.sampling().repetition_penalty() > 0);
  const auto& policy = proto.kv_policy();
  SKV_CHECK(policy.has_max_capacity_prompts() == (policy.name() != "full"));
  SKV_CHECK(policy.has_semantic_factor() == (policy.name() == "sentencekv"));
  SKV_CHECK(!policy.has_max_capacity_prompts() || policy.max_capacity_prompts() >= 16);
  SKV_CHECK(policy.semantic_factor() >= 0);
  SKV_CHECK(proto.min_recall() >= 0 && proto.min_recall() <= 1);
  SKV_CHECK(proto.explain_top() >= 0 && proto.explain_top() <= 32);
  SKV_CHECK(proto.cache_salt().size() <= 128);
  SKV_CHECK(!proto.SerializeAsString().empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const grpc::Slice slice(data, size);
  auto message = skv::router::ParseGenerateRequest(grpc::ByteBuffer(&slice, 1));
  if (!message.ok()) return 0;
  skv::router::Request request = skv::router::FromProto(*std::move(message));
  if (!skv::router::ValidateRequest(request, kLimits).ok()) return 0;
  std::vector<skv::TokenId> prompt_ids{1};
  if (const auto* tokens = std::get_if<skv::router::TokenPrompt>(&request.prompt)) {
    prompt_ids.assign(tokens->ids.begin(), tokens->ids.end());
  }
  const auto admitted =
      skv::router::BuildGroupRequest(request, kLimits, std::move(prompt_ids), /*drawn_seed=*/7);
  if (admitted.ok()) CheckAdmitted(*admitted);
  return 0;
}
