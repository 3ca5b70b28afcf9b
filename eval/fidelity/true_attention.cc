#include "eval/fidelity/true_attention.h"

#include <algorithm>
#include <cmath>

namespace skv::eval {
namespace {

// Independent sums, so that the compiler may use vector registers.
constexpr int kLanes = 16;

float Dot(const float* a, const float* b, int size) {
  float lanes[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < size; ++i) lanes[i % kLanes] += a[i] * b[i];
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

// Scores to probabilities.
void Softmax(float* scores, int size) {
  const float largest = *std::max_element(scores, scores + size);
  double sum = 0;
  for (int i = 0; i < size; ++i) {
    scores[i] = std::exp(scores[i] - largest);
    sum += scores[i];
  }
  const float scale = static_cast<float>(1 / sum);
  for (int i = 0; i < size; ++i) scores[i] *= scale;
}

void SumGroup(TrueAttention* truth) {
  const int n = truth->num_visible;
  truth->group_mass.assign(n, 0.0f);
  for (int h = 0; h < truth->group_size; ++h) {
    const float* const mass = truth->mass.data() + int64_t{h} * n;
    for (int i = 0; i < n; ++i) truth->group_mass[i] += mass[i];
  }
  truth->cumulative.resize(n + 1);
  truth->cumulative[0] = 0;
  for (int i = 0; i < n; ++i) {
    truth->cumulative[i + 1] = truth->cumulative[i] + truth->group_mass[i];
  }
}

}  // namespace

void ComputeTrueAttention(const float* query, const float* keys, const float* values,
                          int num_visible, int group_size, int head_dim, TrueAttention* truth) {
  truth->num_visible = num_visible;
  truth->group_size = group_size;
  truth->head_dim = head_dim;
  truth->mass.resize(int64_t{group_size} * num_visible);
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  for (int i = 0; i < num_visible; ++i) {
    for (int h = 0; h < group_size; ++h) {
      truth->mass[int64_t{h} * num_visible + i] =
          scale * Dot(query + h * head_dim, keys + int64_t{i} * head_dim, head_dim);
    }
  }
  truth->output.assign(group_size * head_dim, 0.0f);
  for (int h = 0; h < group_size; ++h) {
    float* const mass = truth->mass.data() + int64_t{h} * num_visible;
    Softmax(mass, num_visible);
    AddWeightedRows(mass, values, {0, num_visible}, head_dim, truth->output.data() + h * head_dim);
  }
  SumGroup(truth);
}

void AddWeightedRows(const float* weights, const float* values, policy::PositionRange range,
                     int head_dim, float* output) {
  for (int i = range.begin; i < range.end; ++i) {
    const float weight = weights[i];
    const float* const row = values + int64_t{i} * head_dim;
    for (int c = 0; c < head_dim; ++c) output[c] += weight * row[c];
  }
}

}  // namespace skv::eval
