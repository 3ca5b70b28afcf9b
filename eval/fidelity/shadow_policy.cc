#include "eval/fidelity/shadow_policy.h"

#include "common/status.h"

namespace skv::eval {
namespace {

using policy::PositionRange;

// Memory of one thread, which a call may overwrite: megabytes that need not be mapped anew.
struct Scratch {
  std::vector<float> keys, values;
  TrueAttention truth;
};

Scratch& ThreadScratch() {
  thread_local Scratch scratch;
  return scratch;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShadowPolicy>> ShadowPolicy::Create(
    const std::vector<Setting>& settings, const policy::SequenceShape& shape,
    const std::vector<policy::Sentence>* sentences) {
  std::vector<Candidate> candidates;
  for (const Setting& setting : settings) {
    Candidate candidate{setting, nullptr};
    if (setting.kind == SettingKind::kPolicy) {
      SKV_ASSIGN_OR_RETURN(candidate.policy,
                           policy::CreatePolicy(setting.params, shape, sentences));
    }
    candidates.push_back(std::move(candidate));
  }
  return std::make_unique<ShadowPolicy>(std::move(candidates), shape, sentences);
}

ShadowPolicy::ShadowPolicy(std::vector<Candidate> candidates, const policy::SequenceShape& shape,
                           const std::vector<policy::Sentence>* sentences)
    : candidates_(std::move(candidates)), shape_(shape), sentences_(sentences) {}

void ShadowPolicy::OnPrompt(const policy::HeadView& view, const policy::QueryRows& queries) {
  for (const Candidate& candidate : candidates_) {
    if (candidate.policy != nullptr) candidate.policy->OnPrompt(view, queries);
  }
}

void ShadowPolicy::Select(const policy::HeadView& view, const policy::QueryRows& query,
                          std::vector<PositionRange>* attended) {
  attended->push_back({0, query.first_position + 1});
  // Policies follow every query, scored or not.
  std::vector<std::vector<PositionRange>> chosen(candidates_.size());
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (candidates_[i].policy != nullptr) candidates_[i].policy->Select(view, query, &chosen[i]);
  }
  const int generated = query.first_position - shape_.num_prompt_tokens;
  if (scoring_.sheet == nullptr || generated % scoring_.every != 0) return;
  const int step = generated / scoring_.every;
  if (step < num_steps_) Score(view, query, step, chosen);
}

void ShadowPolicy::Score(const policy::HeadView& view, const policy::QueryRows& query, int step,
                         const std::vector<std::vector<PositionRange>>& chosen) {
  const int n = query.first_position + 1, width = shape_.head_dim;
  Scratch& scratch = ThreadScratch();
  scratch.keys.resize(int64_t{n} * width);
  scratch.values.resize(int64_t{n} * width);
  view.kv->ReadKeys(0, n, scratch.keys.data());
  view.kv->ReadValues(0, n, scratch.values.data());
  ComputeTrueAttention(query.data, scratch.keys.data(), scratch.values.data(), n, shape_.group_size,
                       width, &scratch.truth);
  // Stateless and different at every place.
  const uint64_t seed =
      (uint64_t(n) * shape_.num_layers + view.layer) * shape_.num_kv_heads + view.kv_head;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    const Setting& setting = candidates_[i].setting;
    const SentenceView sentences =
        ViewSentences(scratch.truth, *sentences_, BudgetSplit(setting.params.budget_tokens));
    scoring_.sheet->at(static_cast<int>(i), step, view.layer, view.kv_head) = ScoreSelection(
        scratch.truth, scratch.values.data(), sentences,
        candidates_[i].policy != nullptr ? chosen[i]
                                         : SelectReference(setting, scratch.truth, sentences, seed),
        scoring_.needle);
  }
}

std::vector<PositionRange> ShadowPolicy::SelectReference(const Setting& setting,
                                                         const TrueAttention& truth,
                                                         const SentenceView& view,
                                                         uint64_t seed) const {
  const BudgetSplit split(setting.params.budget_tokens);
  switch (setting.kind) {
    case SettingKind::kOracleTopK:
      return OracleTopK(truth, split);
    case SettingKind::kOracleSentence:
      return OracleSentence(truth, view, split, SentenceOrder::kMass);
    case SettingKind::kOracleSentencePerToken:
      return OracleSentence(truth, view, split, SentenceOrder::kMassPerToken);
    case SettingKind::kRandom:
      return RandomEntries(seed, truth.num_visible, split);
    case SettingKind::kPolicy:
      break;
  }
  return {};
}

std::unique_ptr<policy::KvPolicy> ShadowPolicy::ForkPrompt(
    const std::vector<policy::Sentence>* sentences) const {
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    candidates.push_back({candidates_[i].setting, nullptr});
    if (candidates_[i].policy != nullptr) {
      candidates.back().policy = ForkCandidate(static_cast<int>(i), sentences);
    }
  }
  return std::make_unique<ShadowPolicy>(std::move(candidates), shape_, sentences);
}

std::unique_ptr<policy::KvPolicy> ShadowPolicy::ForkCandidate(
    int index, const std::vector<policy::Sentence>* sentences) const {
  return candidates_[index].policy->ForkPrompt(sentences);
}

size_t ShadowPolicy::index_bytes() const {
  size_t bytes = 0;
  for (const Candidate& candidate : candidates_) {
    if (candidate.policy != nullptr) bytes += candidate.policy->index_bytes();
  }
  return bytes;
}

void ShadowPolicy::StartScoring(const Scoring& scoring, int num_steps) {
  scoring_ = scoring;
  num_steps_ = num_steps;
}

}  // namespace skv::eval
