#include "worker/policy/selection_audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "worker/policy/position_ranges.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

constexpr int kTokens = 300;
const SequenceShape kShape = {
    .num_layers = 2, .num_kv_heads = 2, .group_size = 3, .head_dim = 32, .num_prompt_tokens = 100};

float Value(int position, int channel) {
  return static_cast<float>(1 + std::sin(position + channel));
}

class SequenceKv : public FakeKv {
 public:
  using FakeKv::FakeKv;
  void ReadValues(int begin, int end, float* rows) const override {
    for (int i = begin; i < end; ++i) {
      for (int c = 0; c < kShape.head_dim; ++c) *rows++ = Value(i, c);
    }
  }
};

std::vector<PositionRange> RandomSelection(int num_visible, std::mt19937& random) {
  std::vector<PositionRange> selection;
  for (int i = 0; i < num_visible - 1; ++i) {
    if (random() % 3 == 0) AppendRange({i, i + 1}, &selection);
  }
  AppendRange({num_visible - 1, num_visible}, &selection);
  return selection;
}

// The definitions, in double precision.
AuditSample Expected(const TestSequence& sequence, int layer, int kv_head, int h, int position,
                     const std::vector<PositionRange>& selection) {
  const int width = kShape.head_dim;
  const float* const query = sequence.Query(layer, kv_head, position) + h * width;
  std::vector<double> full(width, 0.0), chosen(width, 0.0);
  double full_sum = 0, chosen_sum = 0;
  for (int i = 0; i <= position; ++i) {
    double dot = 0;
    for (int c = 0; c < width; ++c) dot += query[c] * sequence.Key(layer, kv_head, i)[c];
    const double weight = std::exp(dot / std::sqrt(width));
    const bool attended = std::ranges::any_of(
        selection, [i](PositionRange range) { return range.begin <= i && i < range.end; });
    full_sum += weight;
    if (attended) chosen_sum += weight;
    for (int c = 0; c < width; ++c) {
      full[c] += weight * Value(i, c);
      if (attended) chosen[c] += weight * Value(i, c);
    }
  }
  double error2 = 0, full2 = 0;
  for (int c = 0; c < width; ++c) {
    const double want = full[c] / full_sum;
    error2 += std::pow(chosen[c] / chosen_sum - want, 2);
    full2 += want * want;
  }
  return {static_cast<float>(chosen_sum / full_sum), static_cast<float>(std::sqrt(error2 / full2))};
}

TEST(SelectionAuditTest, MeasuresRecallAndOutputErrorOfEveryQueryHead) {
  const TestSequence sequence = MakeRandomSequence({.shape = kShape, .num_tokens = kTokens}, 1);
  SelectionAudit audit(kShape, /*fraction=*/1, /*key=*/1);
  audit.BeginStep(200, 2);
  ASSERT_EQ(audit.step_samples().size(), 2u * 2 * 2 * 3);
  std::mt19937 random(1);
  for (const int position : {201, 200}) {
    for (int head = 0; head < 4; ++head) {
      SCOPED_TRACE(testing::Message() << position << " " << head);
      const int layer = head / 2, kv_head = head % 2;
      const SequenceKv kv(&sequence, layer, kv_head, position + 1);
      const auto selection = RandomSelection(position + 1, random);
      audit.Measure({layer, kv_head, &kv},
                    {sequence.Query(layer, kv_head, position), 0, position, 1}, selection);
      for (int h = 0; h < 3; ++h) {
        const AuditSample want = Expected(sequence, layer, kv_head, h, position, selection);
        const AuditSample got = audit.step_samples()[((position - 200) * 4 + head) * 3 + h];
        EXPECT_LT(want.recall, 0.9);
        EXPECT_NEAR(got.recall, want.recall, 1e-5);
        EXPECT_NEAR(got.output_error, want.output_error, 1e-4);
      }
    }
  }
}

TEST(SelectionAuditTest, ASelectionOfEverythingMissesNothing) {
  const TestSequence sequence = MakeRandomSequence({.shape = kShape, .num_tokens = kTokens}, 1);
  SelectionAudit audit(kShape, 1, 1);
  audit.BeginStep(250, 1);
  const SequenceKv kv(&sequence, 1, 1, 251);
  const std::vector<PositionRange> everything = {{0, 251}};
  audit.Measure({1, 1, &kv}, {sequence.Query(1, 1, 250), 0, 250, 1}, everything);
  for (const AuditSample& sample : audit.step_samples()) {
    EXPECT_EQ(sample.recall, 1);
    EXPECT_EQ(sample.output_error, 0);
  }
}

std::set<int> MeasuredPositions(double fraction, uint64_t key, int rows_per_step) {
  SelectionAudit audit(kShape, fraction, key);
  std::set<int> measured;
  for (int first = 0; first < 6000; first += rows_per_step) {
    audit.BeginStep(first, rows_per_step);
    if (!audit.step_samples().empty()) measured.insert(first);
  }
  return measured;
}

TEST(SelectionAuditTest, PositionsAreDrawnFromTheKeyInTheAskedShare) {
  const std::set<int> drawn = MeasuredPositions(0.1, 7, 1);
  EXPECT_NEAR(drawn.size(), 600, 4 * std::sqrt(6000 * 0.1 * 0.9));
  EXPECT_EQ(MeasuredPositions(0.1, 7, 1), drawn);
  EXPECT_NE(MeasuredPositions(0.1, 8, 1), drawn);
  // Steps that hold none of them measure nothing.
  std::set<int> steps;
  for (const int position : drawn) steps.insert(position / 20 * 20);
  EXPECT_EQ(MeasuredPositions(0.1, 7, 20), steps);
  EXPECT_TRUE(MeasuredPositions(0, 7, 1).empty());
}

}  // namespace
}  // namespace skv::policy
