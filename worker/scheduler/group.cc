#include "worker/scheduler/group.h"

#include <utility>

namespace skv::scheduler {

Footprint Group::WorstCase(int page_tokens) const {
  const int num_samples = static_cast<int>(samples.size());
  Footprint footprint =
      scheduler::WorstCase(prompt_kv_tokens, max_tokens, num_samples, page_tokens);
  footprint.num_slots = int64_t{num_slots} * num_samples;
  return footprint;
}

std::unique_ptr<Group> MakeGroup(Request request, const SchedulerOptions& options) {
  auto group = std::make_unique<Group>();
  for (const SequenceId id : request.sample_ids) group->samples.push_back({.id = id});
  group->samples[0].generated = std::move(request.resume_ids);
  group->prompt = std::move(request.prompt_ids);
  group->sentence_ends = std::move(request.sentence_ends);
  group->prefix_root = request.prefix_root.value_or(PrefixKey());
  group->max_cached_tokens = request.max_cached_tokens;
  group->policy = std::move(request.policy);
  group->explain_top = request.explain_top;
  group->prompt_kv_tokens =
      PromptKvTokens(group->num_prompt_tokens(), group->sentence_ends, options.unit_tokens);
  group->max_tokens = request.max_tokens;
  if (options.working_set_factor > 0) {
    group->num_slots = WorkingSetSlots(group->policy, options.working_set_factor,
                                       group->num_prompt_tokens() + group->max_tokens);
  }
  group->priority = request.priority;
  group->deadline = request.deadline;
  return group;
}

}  // namespace skv::scheduler
