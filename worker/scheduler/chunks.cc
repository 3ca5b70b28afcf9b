#include "worker/scheduler/chunks.h"

#include <utility>
#include <vector>

namespace skv::scheduler {
namespace {

void PlanChunk(const Group& group, Sample* sample, PositionClass position_class, int num_tokens,
               PlannedStep* step) {
  if (num_tokens == 0) return;
  const bool is_prompt = position_class == PositionClass::kPrompt;
  const std::vector<TokenId>& source = is_prompt ? group.prompt : sample->generated;
  const int first = sample->num_computed - (is_prompt ? 0 : group.num_prompt_tokens());
  StepPlan& plan = step->plan;
  plan.tokens.insert(plan.tokens.end(), source.begin() + first,
                     source.begin() + first + num_tokens);
  const int chunk_idx = static_cast<int>(plan.chunks.size());
  plan.chunks.push_back({.id = sample->id,
                         .first_position = sample->num_computed,
                         .num_tokens = num_tokens,
                         .position_class = position_class});
  sample->num_computed += num_tokens;
  const size_t num_draws_before = step->draws.size();
  if (is_prompt && sample->num_computed == group.num_prompt_tokens()) {
    for (const Sample& other : group.samples) {
      if (!other.ended && other.generated.empty()) {
        step->draws.push_back({other.id, chunk_idx, group.num_prompt_tokens()});
      }
    }
  } else if (!is_prompt && BacklogOf(group, *sample).generated_tokens == 0) {
    step->draws.push_back({sample->id, chunk_idx, sample->num_computed});
  }
  plan.chunks.back().sample = step->draws.size() > num_draws_before;
}

}  // namespace

void FillBatch(const GroupQueue& running, const BatchLimits& limits, PlannedStep* step) {
  std::vector<std::pair<Group*, Sample*>> sequences;
  std::vector<Backlog> backlogs;
  for (Group* group : running) {
    if (group->look_up != LookUpState::kNone) continue;
    for (Sample& sample : group->samples) {
      if (sample.ended || !sample.resident) continue;
      sequences.emplace_back(group, &sample);
      backlogs.push_back(BacklogOf(*group, sample));
    }
  }
  for (const Share& share : ShareStep(backlogs, limits)) {
    const auto& [group, sample] = sequences[share.sequence_idx];
    PlanChunk(*group, sample, PositionClass::kPrompt, share.prompt_tokens, step);
    PlanChunk(*group, sample, PositionClass::kGenerated, share.generated_tokens, step);
  }
}

}  // namespace skv::scheduler
