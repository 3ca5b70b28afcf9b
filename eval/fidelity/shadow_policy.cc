#include "eval/fidelity/shadow_policy.h"

#include "common/status.h"
#include "eval/fidelity/key_reads.h"

namespace skv::eval {
namespace {

using policy::PositionRange;

// Memory of one thread, which a call may overwrite: megabytes that need not be mapped anew.
struct Scratch {
  std::vector<float> values;
  TrueAttention truth;
};

Scratch& ThreadScratch() {
  thread_local Scratch scratch;
  return scratch;
}

}  // namespace

ModelRunner::MakePolicy ShadowPolicy::Maker(const std::vector<Setting>& settings) {
  return [&settings](const policy::SequenceShape& shape,
                     const std::vector<policy::Sentence>* sentences)
             -> absl::StatusOr<std::unique_ptr<policy::KvPolicy>> {
    std::vector<Candidate> candidates;
    for (const Setting& setting : settings) {
      SKV_ASSIGN_OR_RETURN(auto policy, CreatePolicy(setting, shape, sentences));
      candidates.push_back({setting, std::move(policy)});
    }
    return std::make_unique<ShadowPolicy>(std::move(candidates), shape, sentences);
  };
}

ShadowPolicy::ShadowPolicy(std::vector<Candidate> candidates, const policy::SequenceShape& shape,
                           const std::vector<policy::Sentence>* sentences)
    : candidates_(std::move(candidates)), shape_(shape), sentences_(sentences) {}

void ShadowPolicy::OnPrompt(const policy::HeadView& view, const policy::QueryRows& queries) {
  for (const Candidate& candidate : candidates_) {
    candidate.policy->OnPrompt(view, queries);
  }
}

void ShadowPolicy::Select(const policy::HeadView& view, const policy::QueryRows& query,
                          std::vector<PositionRange>* attended) {
  attended->push_back({0, query.first_position + 1});
  // Policies follow every query, scored or not.
  std::vector<std::vector<PositionRange>> chosen(candidates_.size());
  std::vector<float> num_scored(candidates_.size());
  const float key_bytes = 2.0f * static_cast<float>(shape_.head_dim);  // in bf16
  for (size_t i = 0; i < candidates_.size(); ++i) {
    const KeyReads reads(view.kv);
    candidates_[i].policy->Select({view.layer, view.kv_head, &reads}, query, &chosen[i]);
    num_scored[i] = static_cast<float>(reads.NumBeside(chosen[i])) +
                    static_cast<float>(reads.sketch_bytes()) / key_bytes;
  }
  const int generated = query.first_position - shape_.num_prompt_tokens;
  if (scoring_.sheet == nullptr || generated % scoring_.every != 0) return;
  const int step = generated / scoring_.every;
  if (step >= num_steps_) return;
  Score(view, query, step, chosen);
  for (size_t i = 0; i < candidates_.size(); ++i) {
    scoring_.sheet->at(static_cast<int>(i), step, view.layer, view.kv_head).scored = num_scored[i];
  }
}

void ShadowPolicy::Score(const policy::HeadView& view, const policy::QueryRows& query, int step,
                         const std::vector<std::vector<PositionRange>>& chosen) {
  const int n = query.first_position + 1;
  Scratch& scratch = ThreadScratch();
  scratch.values.resize(int64_t{n} * shape_.head_dim);
  view.kv->ReadValues(0, n, scratch.values.data());
  ComputeTrueAttention(*view.kv, query.data, scratch.values.data(), n, shape_.group_size,
                       shape_.head_dim, &scratch.truth);
  for (size_t i = 0; i < candidates_.size(); ++i) {
    const policy::BudgetSplit split(candidates_[i].setting.params.budget_tokens);
    scoring_.sheet->at(static_cast<int>(i), step, view.layer, view.kv_head) = ScoreSelection(
        scratch.truth, scratch.values.data(),
        policy::ViewSentences(scratch.truth, *sentences_, split), chosen[i], scoring_.needle);
  }
}

std::unique_ptr<policy::KvPolicy> ShadowPolicy::ForkPrompt(
    const std::vector<policy::Sentence>* sentences) const {
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    candidates.push_back({candidates_[i].setting, ForkCandidate(static_cast<int>(i), sentences)});
  }
  return std::make_unique<ShadowPolicy>(std::move(candidates), shape_, sentences);
}

std::unique_ptr<policy::KvPolicy> ShadowPolicy::ForkCandidate(
    int index, const std::vector<policy::Sentence>* sentences) const {
  return candidates_[index].policy->ForkPrompt(sentences);
}

std::unique_ptr<policy::KvPolicy> ShadowPolicy::TakeCandidate(int index) {
  return std::move(candidates_[index].policy);
}

size_t ShadowPolicy::index_bytes() const {
  size_t bytes = 0;
  for (const Candidate& candidate : candidates_) bytes += candidate.policy->index_bytes();
  return bytes;
}

size_t ShadowPolicy::sketch_bytes() const {
  size_t bytes = 0;
  for (const Candidate& candidate : candidates_) bytes += candidate.policy->sketch_bytes();
  return bytes;
}

void ShadowPolicy::StartScoring(const Scoring& scoring, int num_steps) {
  scoring_ = scoring;
  num_steps_ = num_steps;
}

}  // namespace skv::eval
