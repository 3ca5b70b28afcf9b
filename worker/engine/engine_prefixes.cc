// The leader's part in reusing prompts that were read before (worker/prefix).

#include "worker/engine/engine.h"
#include "worker/engine/open_request.h"
#include "worker/policy/kv_policy.h"

namespace skv::engine {

std::optional<PrefixKey> Engine::PrefixRoot(const GenerationRequest& request) const {
  if (!options_.prefixes) return std::nullopt;
  return RootKey({.tenant_salt = request.cache_salt,
                  .model_name = options_.prefixes->model_name,
                  .model_revision = options_.prefixes->model_revision,
                  .segmenter_id = options_.prefixes->segmenter_id});
}

// What the policy has to learn from is computed, and so is the last token.
int Engine::MaxCachedTokens(const GenerationRequest& request) const {
  if (!options_.prefixes) return 0;
  const int num_prompt_tokens = static_cast<int>(request.prompt_ids.size());
  return num_prompt_tokens - policy::PromptQueries(request.policy, num_prompt_tokens);
}

void Engine::LookUpAgain() {
  if (!scheduler_.is_holding()) return;
  for (const scheduler::LookUp& due : prefix_waits_.TakeDue(executor_->TakeReady(), clock_.Now())) {
    scheduler_.LookUpAgain(due.id, due.may_wait);
  }
}

void Engine::TakeLookUps() {
  for (const auto& [id, result] : executor_->look_ups()) {
    scheduler_.OnLookUp(id, result);
    OpenRequest* const open = samples_.at(id).open;
    if (result.in_progress) {
      if (!open->waited_for_prefix) ++totals_.prefix.waits;
      open->waited_for_prefix = true;
      prefix_waits_.OnHeld(id, result.num_cached_tokens, clock_.Now());
      continue;
    }
    prefix_waits_.Forget(id);
    StartOnce(open);
    totals_.prefix.looked_up_tokens += static_cast<int64_t>(open->request.prompt_ids.size());
    totals_.prefix.hit_tokens += result.num_cached_tokens;
    if (!open->num_cached_tokens) open->num_cached_tokens = result.num_cached_tokens;
  }
}

void Engine::UpdatePrefixStats() {
  PrefixStats& stats = totals_.prefix;
  stats.num_held = totals_.scheduler.num_held;
  const prefix::PrefixCache* const prefixes = executor_->prefixes();
  if (prefixes == nullptr) return;
  const prefix::PrefixCounters& counters = prefixes->counters();
  stats.stored_blocks = static_cast<int64_t>(counters.num_sealed_blocks);
  stats.private_blocks = static_cast<int64_t>(counters.num_private_blocks);
  const prefix::RecomputeCounters& recomputed = prefixes->recompute_counters();
  stats.num_verified_blocks = static_cast<int64_t>(recomputed.num_blocks);
  stats.num_different_blocks = static_cast<int64_t>(recomputed.num_different);
  const kvstore::BlockClientGauges store = prefixes->store_gauges();
  stats.num_failures = static_cast<int64_t>(store.num_failures);
  stats.num_corrupt_blocks = static_cast<int64_t>(store.num_corrupt_blocks);
  stats.is_shared = store.is_shared;
  stats.store_epoch = store.store_epoch;
  stats.num_leases = static_cast<int64_t>(store.num_leases);
  stats.mapped_bytes = static_cast<int64_t>(store.mapped_bytes);
  stats.own_bytes = static_cast<int64_t>(store.own_bytes);
}

}  // namespace skv::engine
