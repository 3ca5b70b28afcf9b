#pragma once
// The scheduler's own records of a request and its samples.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "common/block_key.h"
#include "common/clock.h"
#include "common/types.h"
#include "worker/policy/policy_params.h"
#include "worker/scheduler/batch.h"
#include "worker/scheduler/capacity.h"
#include "worker/scheduler/request.h"
#include "worker/scheduler/scheduler_options.h"

namespace skv::scheduler {

struct Sample {
  SequenceId id = 0;
  std::vector<TokenId> generated;
  int num_computed = 0;   // tokens that the ranks hold once all plans have run
  bool resident = false;  // the ranks know it
  bool ended = false;     // kept only while others still have to fork from it
};

// How far a request is with its prefix.
enum class LookUpState : uint8_t {
  kNone,   // nothing to look up, or answered
  kAsked,  // by a plan; the answer is to come
  kHeld,   // others are computing it
  kDue,    // was held; the next plan asks again
};

// One request. Invariant: while it runs and some live sample is not resident, samples[0] is
// resident and is the one to fork from.
struct Group {
  std::vector<TokenId> prompt;
  std::vector<int> sentence_ends;
  PrefixKey prefix_root;
  int max_cached_tokens = 0;  // 0: does not look up
  policy::PolicyParams policy;
  int explain_top = 0;
  int64_t prompt_kv_tokens = 0;
  int64_t private_kv_tokens =
      0;              // of these, what the pool holds while it runs: all until looked up
  int num_slots = 0;  // of each sample's working set
  std::vector<Sample> samples;
  int max_tokens = 0;
  int priority = 0;
  int64_t arrival = 0;
  std::optional<TimePoint> deadline;
  bool running = false;
  bool preempted = false;
  LookUpState look_up = LookUpState::kNone;  // of samples[0], kNone unless running
  bool may_wait = false;                     // when kDue: whether it may be held again
  Footprint reserved;                        // zero unless running

  int num_prompt_tokens() const { return static_cast<int>(prompt.size()); }
  bool prompt_done() const { return samples[0].num_computed >= num_prompt_tokens(); }
  // Of all samples, working sets included.
  Footprint WorstCase(int page_tokens) const;
  bool awaits_fork() const {
    return std::any_of(samples.begin(), samples.end(),
                       [](const Sample& s) { return !s.ended && !s.resident; });
  }
};

// A group that waits. REQUIRES: Validate(request).ok().
std::unique_ptr<Group> MakeGroup(Request request, const SchedulerOptions& options);

struct RanksBefore {
  bool operator()(const Group* a, const Group* b) const {
    return a->priority != b->priority ? a->priority > b->priority : a->arrival < b->arrival;
  }
};
using GroupQueue = std::set<Group*, RanksBefore>;

// What `sample` of `group` has still to compute; it is a live one.
inline Backlog BacklogOf(const Group& group, const Sample& sample) {
  const int num_prompt_tokens = group.num_prompt_tokens();
  const int num_generated = static_cast<int>(sample.generated.size());
  return {.prompt_tokens = std::max(0, num_prompt_tokens - sample.num_computed),
          .generated_tokens = num_generated - std::max(0, sample.num_computed - num_prompt_tokens)};
}

}  // namespace skv::scheduler
