#include "worker/policy/recall_contract.h"

#include <atomic>

#include "kernels/denormals.h"
#include "worker/policy/largest_scores.h"
#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

void Increment(int64_t* count) {
  std::atomic_ref<int64_t>(*count).fetch_add(1, std::memory_order_relaxed);
}

std::vector<int> PositionsOutside(std::span<const PositionRange> ranges, int num_visible) {
  std::vector<int> outside;
  int next = 0;
  for (const PositionRange& range : ranges) {
    while (next < range.begin) outside.push_back(next++);
    next = range.end;
  }
  while (next < num_visible) outside.push_back(next++);
  return outside;
}

// `ranges` and `positions`, which lie outside them and ascend.
std::vector<PositionRange> Merge(std::span<const PositionRange> ranges,
                                 const std::vector<int>& positions) {
  std::vector<PositionRange> merged;
  size_t next = 0;
  for (const PositionRange& range : ranges) {
    for (; next < positions.size() && positions[next] < range.begin; ++next) {
      AppendRange({positions[next], positions[next] + 1}, &merged);
    }
    AppendRange(range, &merged);
  }
  return merged;
}

// The `count` positions outside `attended` to which `heads` together give most, ascending.
std::vector<int> MostMassOutside(const AttentionMass& mass, const std::vector<int>& heads,
                                 std::span<const PositionRange> attended, size_t count) {
  const std::vector<int> outside = PositionsOutside(attended, mass.num_visible);
  if (outside.size() <= count) return outside;
  std::vector<float> scores(outside.size(), 0.0f);
  for (const int h : heads) {
    const float* const shares = mass.mass.data() + int64_t{h} * mass.num_visible;
    for (size_t i = 0; i < outside.size(); ++i) scores[i] += shares[outside[i]];
  }
  std::vector<int> most;
  for (const int32_t i : LargestScores(scores, static_cast<int>(count))) {
    most.push_back(outside[i]);
  }
  return most;
}

}  // namespace

RecallContract::RecallContract(const SequenceShape& shape, int budget, double min_recall)
    : shape_(shape), budget_(budget), min_recall_(min_recall) {}

bool RecallContract::Widen(const HeadView& view, const QueryRows& query,
                           std::span<const PositionRange> attended,
                           std::vector<PositionRange>* wider) {
  Increment(&counts_.checked);
  const PositionRange everything = {0, query.first_position + 1};
  if (attended.front() == everything) return false;
  const kernels::FlushDenormals flush;
  AttentionMass& mass = ThreadAttentionMass();
  ComputeAttentionMass(*view.kv, query.data, everything.end, shape_.group_size, shape_.head_dim,
                       &mass);
  const std::vector<int> short_heads = HeadsThatFallShort(mass, attended);
  if (short_heads.empty()) return false;
  Increment(&counts_.widened);
  *wider = Merge(attended, MostMassOutside(mass, short_heads, attended, budget_));
  if (wider->front() != everything && HeadsThatFallShort(mass, *wider).empty()) return true;
  Increment(&counts_.full);
  *wider = {everything};
  return true;
}

std::vector<int> RecallContract::HeadsThatFallShort(const AttentionMass& mass,
                                                    std::span<const PositionRange> attended) const {
  std::vector<int> heads;
  for (int h = 0; h < shape_.group_size; ++h) {
    // Written so that NaN falls short.
    if (!(HeldShare(mass, h, attended) >= min_recall_)) heads.push_back(h);
  }
  return heads;
}

}  // namespace skv::policy
