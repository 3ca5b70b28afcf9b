#include "worker/policy/attention_mass.h"

#include <cmath>
#include <numeric>

#include "kernels/selection.h"

namespace skv::policy {
namespace {

void ScoreKeys(const KvReader& kv, const float* query, int head_dim, AttentionMass* mass) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  std::vector<float> scaled(query, query + int64_t{mass->group_size} * head_dim);
  for (float& x : scaled) x *= scale;
  const PositionRange visible = {0, mass->num_visible};
  kv.ScoreKeys(scaled.data(), mass->group_size, {&visible, 1}, mass->mass.data(),
               mass->num_visible);
}

void SumGroup(AttentionMass* mass) {
  const int n = mass->num_visible;
  mass->group_mass.assign(n, 0.0f);
  for (int h = 0; h < mass->group_size; ++h) {
    const float* const head = mass->mass.data() + int64_t{h} * n;
    for (int i = 0; i < n; ++i) mass->group_mass[i] += head[i];
  }
  mass->cumulative.resize(n + 1);
  mass->cumulative[0] = 0;
  for (int i = 0; i < n; ++i) mass->cumulative[i + 1] = mass->cumulative[i] + mass->group_mass[i];
}

}  // namespace

void ComputeAttentionMass(const KvReader& kv, const float* query, int num_visible, int group_size,
                          int head_dim, AttentionMass* mass) {
  mass->num_visible = num_visible;
  mass->group_size = group_size;
  mass->mass.resize(int64_t{group_size} * num_visible);
  ScoreKeys(kv, query, head_dim, mass);
  for (int h = 0; h < group_size; ++h) {
    kernels::WeightedSoftmax(/*weights=*/nullptr, num_visible,
                             mass->mass.data() + int64_t{h} * num_visible);
  }
  SumGroup(mass);
}

double HeldShare(const AttentionMass& mass, int head, std::span<const PositionRange> ranges) {
  const float* const shares = mass.mass.data() + int64_t{head} * mass.num_visible;
  double held = 0, left = 0;
  int next = 0;
  for (const PositionRange& range : ranges) {
    left = std::accumulate(shares + next, shares + range.begin, left);
    held = std::accumulate(shares + range.begin, shares + range.end, held);
    next = range.end;
  }
  left = std::accumulate(shares + next, shares + mass.num_visible, left);
  return held / (held + left);
}

AttentionMass& ThreadAttentionMass() {
  thread_local AttentionMass mass;
  return mass;
}

}  // namespace skv::policy
