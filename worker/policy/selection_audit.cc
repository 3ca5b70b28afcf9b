#include "worker/policy/selection_audit.h"

#include <algorithm>
#include <cmath>

#include "common/philox.h"
#include "kernels/denormals.h"
#include "worker/policy/attention_mass.h"

namespace skv::policy {
namespace {

// The sampler's draws are stream 0, and its seeds may be keys of ours.
constexpr uint32_t kAuditStream = 1;

// Sums of values times mass, [group_size, head_dim] each: of what is attended and of the rest.
struct Outputs {
  std::vector<float> attended, rest;
};

void AddRows(const AttentionMass& mass, const KvReader& kv, PositionRange range, int head_dim,
             std::vector<float>* sums) {
  constexpr int kPiece = 128;  // rows that stay in the cache
  std::vector<float> values(int64_t{std::min(kPiece, range.end - range.begin)} * head_dim);
  for (int begin = range.begin; begin < range.end; begin += kPiece) {
    const int end = std::min(begin + kPiece, range.end);
    kv.ReadValues(begin, end, values.data());
    for (int h = 0; h < mass.group_size; ++h) {
      const float* const weights = mass.mass.data() + int64_t{h} * mass.num_visible;
      float* const sum = sums->data() + int64_t{h} * head_dim;
      for (int i = begin; i < end; ++i) {
        const float* const row = values.data() + int64_t{i - begin} * head_dim;
        for (int c = 0; c < head_dim; ++c) sum[c] += weights[i] * row[c];
      }
    }
  }
}

Outputs SumValues(const AttentionMass& mass, const KvReader& kv,
                  std::span<const PositionRange> attended, int head_dim) {
  Outputs outputs;
  outputs.attended.assign(int64_t{mass.group_size} * head_dim, 0.0f);
  outputs.rest = outputs.attended;
  int rest_begin = 0;
  for (const PositionRange& range : attended) {
    AddRows(mass, kv, {rest_begin, range.begin}, head_dim, &outputs.rest);
    AddRows(mass, kv, range, head_dim, &outputs.attended);
    rest_begin = range.end;
  }
  return outputs;
}

double OutputError(const float* attended, const float* rest, double recall, int head_dim) {
  double error2 = 0, full2 = 0;
  for (int c = 0; c < head_dim; ++c) {
    const double full = double{attended[c]} + rest[c];
    const double chosen = recall > 0 ? attended[c] / recall : 0;
    error2 += (chosen - full) * (chosen - full);
    full2 += full * full;
  }
  return full2 > 0 ? std::sqrt(error2 / full2) : 0;
}

}  // namespace

SelectionAudit::SelectionAudit(const SequenceShape& shape, double fraction, uint64_t key)
    : shape_(shape), fraction_(fraction), key_(key) {}

void SelectionAudit::BeginStep(int first_position, int num_rows) {
  positions_.clear();
  for (int position = first_position; position < first_position + num_rows; ++position) {
    if (UniformAt(key_, position, kAuditStream) < fraction_) positions_.push_back(position);
  }
  const int num_heads = shape_.num_layers * shape_.num_kv_heads * shape_.group_size;
  samples_.assign(positions_.size() * num_heads, {.recall = 1, .output_error = 0});
}

void SelectionAudit::Measure(const HeadView& view, const QueryRows& query,
                             std::span<const PositionRange> attended) {
  const auto found = std::ranges::lower_bound(positions_, query.first_position);
  if (found == positions_.end() || *found != query.first_position) return;
  if (attended.front() == PositionRange{0, query.first_position + 1}) return;
  const kernels::FlushDenormals flush;
  AttentionMass& mass = ThreadAttentionMass();
  ComputeAttentionMass(*view.kv, query.data, query.first_position + 1, shape_.group_size,
                       shape_.head_dim, &mass);
  const Outputs outputs = SumValues(mass, *view.kv, attended, shape_.head_dim);
  const int64_t head = ((found - positions_.begin()) * int64_t{shape_.num_layers} + view.layer) *
                           shape_.num_kv_heads +
                       view.kv_head;
  for (int h = 0; h < shape_.group_size; ++h) {
    const double recall = HeldShare(mass, h, attended);
    const int64_t row = int64_t{h} * shape_.head_dim;
    samples_[head * shape_.group_size + h] = {
        .recall = static_cast<float>(recall),
        .output_error = static_cast<float>(OutputError(
            outputs.attended.data() + row, outputs.rest.data() + row, recall, shape_.head_dim))};
  }
}

}  // namespace skv::policy
