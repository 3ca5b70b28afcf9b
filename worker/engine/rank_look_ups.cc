// How a rank's sequences come to the parts of their prompts that were computed before.

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/engine/rank_executor.h"

namespace skv::engine {

using prefix::PrefixCache;
using scheduler::LookUp;
using scheduler::StepPlan;

namespace {

// That does not wait. Views the admission.
prefix::PrefixRequest MakePrefixRequest(const scheduler::Admission& admission) {
  return {.id = admission.id,
          .root = admission.prefix_root,
          .tokens = admission.prompt_ids,
          .sentence_ends = admission.sentence_ends,
          .max_cached_tokens = admission.max_cached_tokens};
}

}  // namespace

absl::Status RankExecutor::LookUpPrefixes(const StepPlan& plan) {
  look_ups_.clear();
  std::vector<PrefixCache::Hit> hits;
  const auto look_up = [&](const LookUp& wanted) -> absl::Status {
    SKV_ASSIGN_OR_RETURN(hits.emplace_back(), LookUpPrefix(wanted));
    look_ups_.push_back({.id = wanted.id});
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
  for (size_t i = 0; i < hits.size(); ++i) {
    if (look_ups_[i].in_progress) continue;
    BeginBehind(std::move(hits[i]), sequences_.at(look_ups_[i].id).get());
  }
  return absl::OkStatus();
}

absl::StatusOr<PrefixCache::Hit> RankExecutor::LookUpPrefix(const LookUp& look_up) {
  const auto it = sequences_.find(look_up.id);
  if (it == sequences_.end() || !it->second->look_up) {
    return absl::InternalError(
        absl::StrCat("sequence ", look_up.id, " is looked up, which does not wait on this rank"));
  }
  if (prefixes_ == nullptr) return PrefixCache::Hit();
  prefix::PrefixRequest request = MakePrefixRequest(*it->second->look_up);
  if (communicator_->rank() > 0) return prefixes_->Find(request);
  request.may_wait = look_up.may_wait;
  return prefixes_->LookUp(request);
}

// The tokens that every rank has are cached; whether to wait for more is rank 0's word. Of each
// look-up that is one number a rank and one more.
absl::Status RankExecutor::AgreeOnHits(const std::vector<PrefixCache::Hit>& hits) {
  const int rank = communicator_->rank();
  const size_t stride = communicator_->world_size() + 1;
  std::vector<double> said(hits.size() * stride);
  for (size_t i = 0; i < hits.size(); ++i) {
    double* const own = said.data() + i * stride;
    own[rank] = hits[i].num_cached_tokens;
    if (rank == 0) own[stride - 1] = hits[i].in_progress ? 1 : 0;
  }
  SKV_RETURN_IF_ERROR(communicator_->AllReduceSum(said.data(), said.size()));
  for (size_t i = 0; i < hits.size(); ++i) {
    const double* const all = said.data() + i * stride;
    look_ups_[i].in_progress = all[stride - 1] != 0;
    const double cached =
        look_ups_[i].in_progress ? all[0] : *std::min_element(all, all + stride - 1);
    look_ups_[i].num_cached_tokens = static_cast<int>(cached);
  }
  return absl::OkStatus();
}

// What one rank has no room for no rank keeps, nor anything while only some of them reach the
// host's store: nobody would ever find it, and who wants the same would wait for it in vain.
absl::Status RankExecutor::ClaimTogether(std::vector<PrefixCache::Hit>* hits) {
  const int rank = communicator_->rank(), world_size = communicator_->world_size();
  std::vector<double> said((hits->size() + 1) * world_size);
  for (size_t i = 0; i < hits->size(); ++i) {
    PrefixCache::Hit& hit = (*hits)[i];
    if (look_ups_[i].in_progress) continue;
    if (rank > 0) {
      prefixes_->ClaimRest(MakePrefixRequest(*sequences_.at(look_ups_[i].id)->look_up), &hit);
    }
    hit.Truncate(look_ups_[i].num_cached_tokens);
    said[i * world_size + rank] = static_cast<double>(hit.num_offered);
  }
  said[hits->size() * world_size + rank] = prefixes_->store_gauges().is_shared ? 1 : 0;
  SKV_RETURN_IF_ERROR(communicator_->AllReduceSum(said.data(), said.size()));
  const double num_sharing = std::accumulate(said.end() - world_size, said.end(), 0.0);
  const bool is_split = num_sharing != 0 && num_sharing != world_size;
  for (size_t i = 0; i < hits->size(); ++i) {
    const double* const all = said.data() + i * world_size;
    if (look_ups_[i].in_progress) continue;
    (*hits)[i].KeepClaims(is_split ? 0
                                   : static_cast<size_t>(*std::min_element(all, all + world_size)));
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
