#include "worker/policy/watched_policy.h"

#include <span>
#include <utility>

namespace skv::policy {

WatchedPolicy::WatchedPolicy(std::unique_ptr<KvPolicy> policy, const SequenceShape& shape)
    : policy_(std::move(policy)), shape_(shape) {}

void WatchedPolicy::KeepRecall(int budget, double min_recall) {
  contract_.emplace(shape_, budget, min_recall);
}

void WatchedPolicy::WatchReads(std::vector<int> sentence_ends) {
  reads_.emplace(shape_, std::move(sentence_ends));
}

void WatchedPolicy::Audit(double fraction, uint64_t key) { audit_.emplace(shape_, fraction, key); }

void WatchedPolicy::BeginStep(int first_position, int num_rows) {
  if (contract_) contract_->BeginStep();
  if (reads_) reads_->BeginStep(first_position, num_rows);
  if (audit_) audit_->BeginStep(first_position, num_rows);
}

void WatchedPolicy::OnPrompt(const HeadView& view, const QueryRows& queries) {
  policy_->OnPrompt(view, queries);
}

void WatchedPolicy::Select(const HeadView& view, const QueryRows& query,
                           std::vector<PositionRange>* attended) {
  const size_t first = attended->size();
  policy_->Select(view, query, attended);
  std::vector<PositionRange> wider;
  if (contract_ && contract_->Widen(view, query, std::span(*attended).subspan(first), &wider)) {
    attended->resize(first);
    attended->insert(attended->end(), wider.begin(), wider.end());
  }
  const auto selected = std::span<const PositionRange>(*attended).subspan(first);
  if (reads_) reads_->Measure(view, query, selected);
  if (audit_) audit_->Measure(view, query, selected);
}

std::unique_ptr<KvPolicy> WatchedPolicy::ForkPrompt(const std::vector<Sentence>* sentences) const {
  auto fork = std::make_unique<WatchedPolicy>(policy_->ForkPrompt(sentences), shape_);
  if (contract_) fork->KeepRecall(contract_->budget(), contract_->min_recall());
  if (reads_) fork->WatchReads(reads_->sentence_ends());
  return fork;
}

}  // namespace skv::policy
