// How a rank's sequences come to the parts of their prompts that were computed before.

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rounding.h"
#include "common/status.h"
#include "worker/engine/rank_executor.h"
#include "worker/scheduler/capacity.h"

namespace skv::engine {

using prefix::PrefixCache;
using scheduler::LookUp;
using scheduler::StepPlan;

namespace {

// KV tokens of the pool that the prompt takes beside the blocks of `hit`.
int64_t PrivateKvTokens(const scheduler::Admission& admission, const PrefixCache::Hit& hit) {
  int64_t kv_tokens = scheduler::PromptKvTokens(admission.num_prompt_tokens,
                                                admission.sentence_ends, kv::kUnitTokens);
  for (const std::shared_ptr<kv::PromptBlock>& block : hit.blocks) {
    if (block != nullptr) kv_tokens -= RoundUp(block->capacity(), kv::kUnitTokens);
  }
  return kv_tokens;
}

}  // namespace

absl::Status RankExecutor::LookUpPrefixes(const StepPlan& plan) {
  look_ups_.clear();
  std::vector<PrefixCache::Hit> hits;
  const auto look_up = [&](const LookUp& wanted) -> absl::Status {
    SKV_ASSIGN_OR_RETURN(hits.emplace_back(), LookUpPrefix(wanted));
    look_ups_.push_back({.id = wanted.id, .result = {}});
    return absl::OkStatus();
  };
  for (const scheduler::Admission& admission : plan.admitted) {
    if (admission.prompt_ids.empty()) continue;
    SKV_RETURN_IF_ERROR(look_up({.id = admission.id, .may_wait = true}));
  }
  for (const LookUp& again : plan.lookups) SKV_RETURN_IF_ERROR(look_up(again));
  if (hits.empty()) return absl::OkStatus();
  SKV_RETURN_IF_ERROR(AgreeOnHits(hits));
  Beat();  // a store that does not answer has taken its time, and may once more below
  if (prefixes_ != nullptr) SKV_RETURN_IF_ERROR(ClaimTogether(&hits));
  SKV_RETURN_IF_ERROR(AgreeOnPrivateTokens(hits));
  for (size_t i = 0; i < hits.size(); ++i) {
    if (look_ups_[i].result.in_progress) continue;
    BeginBehind(std::move(hits[i]), sequences_.at(look_ups_[i].id).get());
  }
  return absl::OkStatus();
}

// That does not wait. Views the admission.
prefix::PrefixRequest RankExecutor::RequestOf(SequenceId id) const {
  const scheduler::Admission& admission = *sequences_.at(id)->look_up;
  return {.id = id,
          .root = admission.prefix_root,
          .tokens = admission.prompt_ids,
          .sentence_ends = admission.sentence_ends,
          .max_cached_tokens = admission.max_cached_tokens};
}

absl::StatusOr<PrefixCache::Hit> RankExecutor::LookUpPrefix(const LookUp& look_up) {
  const auto it = sequences_.find(look_up.id);
  if (it == sequences_.end() || !it->second->look_up) {
    return absl::InternalError(
        absl::StrCat("sequence ", look_up.id, " is looked up, which does not wait on this rank"));
  }
  if (prefixes_ == nullptr) return PrefixCache::Hit();
  prefix::PrefixRequest request = RequestOf(look_up.id);
  if (communicator_->rank() > 0) return prefixes_->Find(request);
  request.may_wait = look_up.may_wait;
  return prefixes_->LookUp(request);
}

// [i][rank] = the number that each rank has at own[i].
absl::StatusOr<std::vector<double>> RankExecutor::ShareNumbers(const std::vector<double>& own) {
  const size_t world_size = communicator_->world_size();
  std::vector<double> all(own.size() * world_size);
  for (size_t i = 0; i < own.size(); ++i) all[i * world_size + communicator_->rank()] = own[i];
  SKV_RETURN_IF_ERROR(communicator_->AllReduceSum(all.data(), all.size()));
  return all;
}

// The tokens that every rank has are cached; whether to wait for more is rank 0's word.
absl::Status RankExecutor::AgreeOnHits(const std::vector<PrefixCache::Hit>& hits) {
  std::vector<double> own;
  for (const PrefixCache::Hit& hit : hits) {
    own.push_back(hit.num_cached_tokens);
    own.push_back(hit.in_progress ? 1 : 0);
  }
  SKV_ASSIGN_OR_RETURN(const std::vector<double> all, ShareNumbers(own));
  const int world_size = communicator_->world_size();
  for (size_t i = 0; i < hits.size(); ++i) {
    const double* const cached = all.data() + 2 * i * world_size;
    look_ups_[i].result.in_progress = cached[world_size] != 0;
    look_ups_[i].result.num_cached_tokens = static_cast<int>(
        look_ups_[i].result.in_progress ? cached[0]
                                        : *std::min_element(cached, cached + world_size));
  }
  return absl::OkStatus();
}

// What one rank has no room for no rank keeps, nor anything while only some of them reach the
// host's store: nobody would ever find it, and who wants the same would wait for it in vain.
absl::Status RankExecutor::ClaimTogether(std::vector<PrefixCache::Hit>* hits) {
  std::vector<double> own;
  for (size_t i = 0; i < hits->size(); ++i) {
    PrefixCache::Hit& hit = (*hits)[i];
    if (!look_ups_[i].result.in_progress) {
      if (communicator_->rank() > 0) prefixes_->ClaimRest(RequestOf(look_ups_[i].id), &hit);
      int& num_cached_tokens = look_ups_[i].result.num_cached_tokens;
      hit.Truncate(num_cached_tokens);
      if (IsToBeVerified(num_cached_tokens)) num_cached_tokens = prefixes_->Recompute(&hit);
    }
    own.push_back(static_cast<double>(hit.num_offered));
  }
  own.push_back(prefixes_->store_gauges().is_shared ? 1 : 0);
  SKV_ASSIGN_OR_RETURN(const std::vector<double> all, ShareNumbers(own));
  const int world_size = communicator_->world_size();
  const double num_sharing = std::accumulate(all.end() - world_size, all.end(), 0.0);
  const bool is_split = num_sharing != 0 && num_sharing != world_size;
  for (size_t i = 0; i < hits->size(); ++i) {
    if (look_ups_[i].result.in_progress) continue;
    const double* const offered = all.data() + i * world_size;
    const double most = *std::min_element(offered, offered + world_size);
    (*hits)[i].KeepClaims(is_split ? 0 : static_cast<size_t>(most));
  }
  return absl::OkStatus();
}

// All ranks count the same hits, and so pick the same ones without a word.
bool RankExecutor::IsToBeVerified(int num_cached_tokens) {
  if (verify_every_ == 0 || num_cached_tokens == 0) return false;
  return num_agreed_hits_++ % verify_every_ == 0;
}

// Ranks may have other blocks of their own: the pool has to have room for the most.
absl::Status RankExecutor::AgreeOnPrivateTokens(const std::vector<PrefixCache::Hit>& hits) {
  std::vector<double> own;
  for (size_t i = 0; i < hits.size(); ++i) {
    const scheduler::Admission& admission = *sequences_.at(look_ups_[i].id)->look_up;
    own.push_back(static_cast<double>(PrivateKvTokens(admission, hits[i])));
  }
  SKV_ASSIGN_OR_RETURN(const std::vector<double> all, ShareNumbers(own));
  const int world_size = communicator_->world_size();
  for (size_t i = 0; i < hits.size(); ++i) {
    const double* const tokens = all.data() + i * world_size;
    look_ups_[i].result.private_kv_tokens =
        static_cast<int64_t>(*std::max_element(tokens, tokens + world_size));
  }
  return absl::OkStatus();
}

void RankExecutor::BeginBehind(PrefixCache::Hit hit, SequenceState* state) {
  const int num_cached = hit.num_cached_tokens;
  state->cache->UsePrompt(std::move(hit.blocks), num_cached);
  state->tracker.Feed(absl::MakeSpan(state->look_up->prompt_ids).first(num_cached));
  state->look_up.reset();
}

std::vector<SequenceId> RankExecutor::TakeReady() {
  return prefixes_ == nullptr ? std::vector<SequenceId>() : prefixes_->TakeReady();
}

}  // namespace skv::engine
