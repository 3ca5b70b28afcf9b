#pragma once
// Between the wire's messages and the engine's plain structs. Pure.

#include "absl/status/statusor.h"
#include "skv/worker/v1/worker.pb.h"
#include "text/tokenizer_spec.h"
#include "worker/engine/request.h"
#include "worker/policy/kv_means.h"
#include "worker/policy/policy_params.h"

namespace skv::server {

// InvalidArgument: no sampling parameters. All else is the engine's to check when it is submitted.
// The deadline is the caller's to set.
absl::StatusOr<engine::GenerationRequest> ToRequest(const worker::v1::GenerateRequest& proto);
worker::v1::GenerateEvent ToProto(const engine::TokenEvent& event);
// `policy` is the sample's; `kv_heads`: of the leader's rank.
worker::v1::GenerateEvent ToProto(const engine::FinishEvent& event,
                                  const policy::PolicyParams& policy,
                                  const policy::KvHeads& kv_heads);
worker::v1::KvPolicy ToProto(const policy::PolicyParams& params);
worker::v1::TokenizerSpec ToProto(const text::TokenizerSpec& spec);

}  // namespace skv::server
