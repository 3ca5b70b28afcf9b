#pragma once
// Attends everything, as `full` does, while it asks other policies what they would have attended
// for the very same queries, and scores their selections. All settings thus see the states of full
// attention.

#include <memory>
#include <vector>

#include "eval/fidelity/model_runner.h"
#include "eval/fidelity/score_sheet.h"
#include "eval/fidelity/setting.h"
#include "worker/policy/kv_policy.h"

namespace skv::eval {

class ShadowPolicy : public policy::KvPolicy {
 public:
  struct Candidate {
    Setting setting;
    std::unique_ptr<policy::KvPolicy> policy;
  };
  struct Scoring {
    ScoreSheet* sheet = nullptr;         // outlives the policy; null: nothing is scored
    int every = 1;                       // generated positions from one scored to the next
    policy::PositionRange needle{0, 0};  // prompt positions; empty: none
  };

  // Makes shadows of `settings`, which outlive it. Errors of CreatePolicy.
  static ModelRunner::MakePolicy Maker(const std::vector<Setting>& settings);
  ShadowPolicy(std::vector<Candidate> candidates, const policy::SequenceShape& shape,
               const std::vector<policy::Sentence>* sentences);

  void OnPrompt(const policy::HeadView& view, const policy::QueryRows& queries) override;
  void Select(const policy::HeadView& view, const policy::QueryRows& query,
              std::vector<policy::PositionRange>* attended) override;
  // Without scoring; see StartScoring.
  std::unique_ptr<policy::KvPolicy> ForkPrompt(
      const std::vector<policy::Sentence>* sentences) const override;
  size_t index_bytes() const override;
  size_t sketch_bytes() const override;

  // From now on step s, the generated position num_prompt_tokens + s * every, is scored into row s
  // of the sheet, as long as it has rows.
  void StartScoring(const Scoring& scoring, int num_steps);
  const policy::KvPolicy& candidate(int index) const { return *candidates_[index].policy; }
  // A policy of its own for a second sequence with this prompt.
  std::unique_ptr<policy::KvPolicy> ForkCandidate(
      int index, const std::vector<policy::Sentence>* sentences) const;
  // The policy itself, as it is now. The shadow is not used any more.
  std::unique_ptr<policy::KvPolicy> TakeCandidate(int index);

 private:
  void Score(const policy::HeadView& view, const policy::QueryRows& query, int step,
             const std::vector<std::vector<policy::PositionRange>>& chosen);

  std::vector<Candidate> candidates_;
  const policy::SequenceShape shape_;
  const std::vector<policy::Sentence>* const sentences_;
  Scoring scoring_;
  int num_steps_ = 0;
};

}  // namespace skv::eval
