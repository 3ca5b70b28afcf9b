// AttendRowScalar: docs/arithmetic.md, section Attention, in its own order.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/denormals.h"
#include "kernels/ref/attention_ref.h"

namespace skv::kernels {
namespace {

constexpr int kMaxHeadDim = 256;
constexpr int kLanes = 16;
constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLowestScore = -3.40282347e38f;

float ToFloat(Bf16 x) {
  const uint32_t bits = uint32_t{x} << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

Bf16 Round(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  if (std::isnan(x)) return static_cast<Bf16>((bits >> 16) | 0x40);
  return static_cast<Bf16>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float Exp2(float x) {
  if (x < -126.0f) return 0.0f;
  const float n = std::nearbyint(x);
  const float r = x - n;
  float p = 0.00958285294f;
  p = std::fma(p, r, 0.0559064262f);
  p = std::fma(p, r, 0.240240991f);
  p = std::fma(p, r, 0.693124175f);
  p = std::fma(p, r, 1.0f);
  return std::ldexp(p, static_cast<int>(n));
}

float DotPair(float acc, Bf16 a_even, Bf16 a_odd, Bf16 b_even, Bf16 b_odd) {
  acc = std::fma(ToFloat(a_odd), ToFloat(b_odd), acc);
  return std::fma(ToFloat(a_even), ToFloat(b_even), acc);
}

struct Entry {
  const Bf16* k;
  const Bf16* v;
};

struct State {
  float max, sum, o[kMaxHeadDim];
};

// REQUIRES: the runs hold more than `index` entries.
Entry FindEntry(const KvRun* runs, int num_runs, int index, int head_dim) {
  int r = 0;
  for (; r + 1 < num_runs && index >= runs[r].num_rows; ++r) index -= runs[r].num_rows;
  return {runs[r].k + int64_t{index} * head_dim, runs[r].v + int64_t{index} * head_dim};
}

// Folds lanes i and i + 8, then i + 4, i + 2, i + 1.
float SumLanes(float* lanes) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

void AttendGroup(const Entry* entries, int count, const Bf16* q, int head_dim, State* state) {
  float scores[kAttentionGroup];
  state->max = kLowestScore;
  for (int i = 0; i < count; ++i) {
    float acc = 0.0f;
    for (int c = 0; c < head_dim; c += 2) {
      acc = DotPair(acc, q[c], q[c + 1], entries[i].k[c], entries[i].k[c + 1]);
    }
    scores[i] = acc;
    state->max = std::max(state->max, acc);
  }
  Bf16 p[kAttentionGroup + 1] = {};  // the last pair may be half empty
  for (int i = 0; i < count; ++i) p[i] = Round(Exp2(scores[i] - state->max));
  float sums[kLanes] = {};
  const Bf16 one = Round(1.0f);
  for (int i = 0; i < count; i += 2) {
    float& sum = sums[i / 2 % kLanes];
    sum = DotPair(sum, p[i], p[i + 1], one, one);
  }
  state->sum = SumLanes(sums);
  for (int c = 0; c < head_dim; ++c) {
    float acc = 0.0f;
    for (int i = 0; i < count; i += 2) {
      acc = DotPair(acc, p[i], p[i + 1], entries[i].v[c], i + 1 < count ? entries[i + 1].v[c] : 0);
    }
    state->o[c] = acc;
  }
}

void Merge(const State& group, int head_dim, State* state) {
  const float max = std::max(state->max, group.max);
  const float keep = Exp2(state->max - max), add = Exp2(group.max - max);
  state->max = max;
  state->sum = std::fma(group.sum, add, state->sum * keep);
  for (int c = 0; c < head_dim; ++c) {
    state->o[c] = std::fma(group.o[c], add, state->o[c] * keep);
  }
}

}  // namespace

void AttendRowScalar(const AttentionShape& shape, const KvRun* runs, int num_runs, const float* q,
                     int num_visible, float* out) {
  const FlushDenormals flush;
  const int head_dim = shape.head_dim;
  Bf16 rounded[kMaxHeadDim];
  const float factor = shape.scale * kLog2E;
  for (int c = 0; c < head_dim; ++c) rounded[c] = Round(q[c] * factor);
  State state = {};
  for (int begin = 0; begin < num_visible; begin += kAttentionGroup) {
    Entry entries[kAttentionGroup];
    const int count = std::min(kAttentionGroup, num_visible - begin);
    for (int i = 0; i < count; ++i) entries[i] = FindEntry(runs, num_runs, begin + i, head_dim);
    State group;
    AttendGroup(entries, count, rounded, head_dim, &group);
    if (begin == 0) {
      state = group;
    } else {
      Merge(group, head_dim, &state);
    }
  }
  for (int c = 0; c < head_dim; ++c) out[c] = state.o[c] / state.sum;
}

}  // namespace skv::kernels
