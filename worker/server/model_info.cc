#include "worker/server/model_info.h"

#include "absl/strings/str_cat.h"
#include "worker/policy/kv_policy.h"
#include "worker/server/conversions.h"

namespace skv::server {
namespace {

// Adds the policy where a long prompt needs to be computed in part only.
void AddPolicy(const policy::PolicyParams& params, int max_model_len,
               worker::v1::PrefixNaming* naming) {
  const int computed = policy::PromptQueries(params, max_model_len);
  if (computed == max_model_len) return;
  naming->add_kv_policies(params.name);
  naming->add_computed_tokens(computed);
}

worker::v1::PrefixNaming ToProto(const engine::PrefixNames& names) {
  worker::v1::PrefixNaming naming;
  naming.set_model_name(names.model_name);
  naming.set_model_revision(names.model_revision);
  naming.set_segmenter_id(names.segmenter_id);
  return naming;
}

}  // namespace

std::string ServedModelName(const WorkerOptions& options,
                            const engine::ModelDescription& description) {
  return options.served_model_name.empty() ? description.name : options.served_model_name;
}

worker::v1::ModelInfo MakeModelInfo(const WorkerOptions& options,
                                    const engine::ModelDescription& description,
                                    const engine::Rank& rank,
                                    const engine::EngineOptions& engine_options) {
  worker::v1::ModelInfo info;
  info.set_name(ServedModelName(options, description));
  info.set_fingerprint(description.fingerprint);
  info.set_context_length(rank.max_model_len());
  info.set_vocab_size(description.config.vocab_size);
  *info.mutable_tokenizer() = ToProto(description.tokenizer);
  info.set_numerics_id(
      absl::StrCat(rank.backend().numerics_id(), "-tp", options.tensor_parallel_size));
  info.set_world_size(options.tensor_parallel_size);
  info.set_max_num_seqs(options.max_num_seqs);
  info.set_kv_capacity_tokens(engine_options.scheduler.capacity_tokens);
  info.set_default_kv_policy(options.kv_policies.default_policy.name);
  if (engine_options.prefixes) *info.mutable_prefix_naming() = ToProto(*engine_options.prefixes);
  for (const std::string& name : options.kv_policies.allowed) {
    policy::PolicyParams params = options.kv_policies.default_policy;
    params.name = name;
    *info.add_kv_policies() = ToProto(params);
    if (engine_options.prefixes) {
      AddPolicy(params, rank.max_model_len(), info.mutable_prefix_naming());
    }
  }
  return info;
}

}  // namespace skv::server
