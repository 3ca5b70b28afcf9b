#pragma once
// Drives a policy through a TestSequence as the model drives it, and keeps what it selects.

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <vector>

#include "worker/policy/kv_policy.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {

void PrintTo(const PositionRange& range, std::ostream* out);

// What each generated position of one layer and KV head attends: [position - num_prompt_tokens].
using HeadSelections = std::vector<std::vector<PositionRange>>;
// [layer * num_kv_heads + kv_head]
using Selections = std::vector<HeadSelections>;

class PolicyDriver {
 public:
  // The policy of a sequence with these sentences, which outlive it.
  using Creator =
      std::function<std::unique_ptr<KvPolicy>(const SequenceShape&, const std::vector<Sentence>*)>;

  // `sequence` outlives the driver.
  PolicyDriver(const TestSequence& sequence, const Creator& create);
  PolicyDriver(const TestSequence& sequence, const PolicyParams& params);
  // A fork of the parent's policy that goes on as `sequence` does.
  PolicyDriver(const TestSequence& sequence, const PolicyDriver& parent);

  // The first `num_cached` positions are in the cache already: the policy sees the prompt from
  // there on. REQUIRES: nothing has run
  void BeginBehind(int num_cached) { next_ = num_cached; }

  // Runs up to `end` in steps of 1 to `max_step` positions.
  void RunTo(int end, int max_step, std::mt19937& random);
  // The same in one step, with a thread for each layer and head.
  // REQUIRES: all positions before `end` are of the prompt, or none.
  void StepOnThreads(int end);

  int NumHeads() const { return sequence_.shape.num_layers * sequence_.shape.num_kv_heads; }
  const Selections& selections() const { return selections_; }
  const KvPolicy& policy() const { return *policy_; }

 private:
  void StepHead(int number, int end);

  const TestSequence& sequence_;
  std::vector<Sentence> sentences_;
  std::unique_ptr<KvPolicy> policy_;
  int next_ = 0;
  Selections selections_;
};

// What a policy selects on its own, in steps of up to `max_step`.
Selections RunPolicy(const TestSequence& sequence, const PolicyDriver::Creator& create,
                     int max_step, uint32_t seed);
Selections RunPolicy(const TestSequence& sequence, const PolicyParams& params, int max_step,
                     uint32_t seed);

// Fails the test unless every selection is sorted, without ranges that are empty or touch, and ends
// with the position itself.
void CheckWellFormed(const TestSequence& sequence, const Selections& selections);

}  // namespace skv::policy
