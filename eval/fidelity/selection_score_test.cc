// Truth and scores against a plain double-precision transcription of their definitions.

#include "eval/fidelity/selection_score.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <span>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::eval {
namespace {

using policy::PositionRange;

constexpr int kEntries = 300, kGroup = 3, kWidth = 20;

class ArrayKv : public policy::KvReader {
 public:
  explicit ArrayKv(const std::vector<float>& keys) : keys_(keys) {}
  void ReadKeys(int begin, int end, float* rows) const override {
    std::copy(keys_.begin() + begin * kWidth, keys_.begin() + end * kWidth, rows);
  }
  void ReadValues(int, int, float*) const override { FAIL() << "values come as an array"; }
  void CountSketchBytes(int64_t) const override {}
  void ScoreKeys(const float* queries, int num_queries, std::span<const PositionRange> ranges,
                 float* scores, int64_t score_stride) const override {
    int entry = 0;
    for (const PositionRange& range : ranges) {
      for (int t = range.begin; t < range.end; ++t, ++entry) {
        for (int r = 0; r < num_queries; ++r) {
          scores[r * score_stride + entry] = std::inner_product(
              queries + r * kWidth, queries + (r + 1) * kWidth, keys_.begin() + t * kWidth, 0.0f);
        }
      }
    }
  }

 private:
  const std::vector<float>& keys_;
};

class SelectionScoreTest : public testing::Test {
 protected:
  SelectionScoreTest()
      : query_(Random(kGroup * kWidth)),
        keys_(Random(kEntries * kWidth)),
        values_(Random(kEntries * kWidth)) {
    ComputeTrueAttention(ArrayKv(keys_), query_.data(), values_.data(), kEntries, kGroup, kWidth,
                         &truth_);
    for (int begin = 0; begin + 12 < kEntries;) {
      const int end = begin + 4 + static_cast<int>(random_() % 20);
      if (end >= kEntries) break;
      sentences_.push_back({begin, end, end});
      begin = end;
    }
  }

  std::vector<float> Random(int count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    return values;
  }

  // p[h][i], exactly as softmax over the marked entries is written.
  std::vector<std::vector<double>> Probabilities(const std::vector<char>& marked) const {
    std::vector<std::vector<double>> p(kGroup, std::vector<double>(kEntries, 0));
    for (int h = 0; h < kGroup; ++h) {
      double sum = 0;
      for (int i = 0; i < kEntries; ++i) {
        double dot = 0;
        for (int c = 0; c < kWidth; ++c) {
          dot += double{query_[h * kWidth + c]} * keys_[i * kWidth + c];
        }
        if (marked[i]) sum += p[h][i] = std::exp(dot / std::sqrt(double{kWidth}));
      }
      for (double& value : p[h]) value /= sum;
    }
    return p;
  }

  std::vector<double> Output(const std::vector<std::vector<double>>& p) const {
    std::vector<double> output(kGroup * kWidth, 0);
    for (int h = 0; h < kGroup; ++h) {
      for (int i = 0; i < kEntries; ++i) {
        for (int c = 0; c < kWidth; ++c) {
          output[h * kWidth + c] += p[h][i] * values_[i * kWidth + c];
        }
      }
    }
    return output;
  }

  static std::vector<char> Marks(const std::vector<PositionRange>& ranges) {
    std::vector<char> marked(kEntries, 0);
    for (const PositionRange& range : ranges) {
      for (int i = range.begin; i < range.end; ++i) marked[i] = 1;
    }
    return marked;
  }

  double Recall(const std::vector<PositionRange>& ranges) const {
    const auto p = Probabilities(std::vector<char>(kEntries, 1));
    const std::vector<char> marked = Marks(ranges);
    double recall = 0;
    for (int i = 0; i < kEntries; ++i) {
      for (int h = 0; h < kGroup; ++h) recall += marked[i] * p[h][i] / kGroup;
    }
    return recall;
  }

  SelectionScore Score(const std::vector<PositionRange>& ranges, int budget,
                       PositionRange needle = {0, 0}) const {
    return ScoreSelection(truth_, values_.data(),
                          policy::ViewSentences(truth_, sentences_, policy::BudgetSplit(budget)),
                          ranges, needle);
  }

  std::mt19937 random_{7};
  std::vector<float> query_, keys_, values_;
  TrueAttention truth_;
  std::vector<policy::Sentence> sentences_;
};

const std::vector<PositionRange> kSome = {{0, 8}, {40, 75}, {120, 121}, {284, 300}};

TEST_F(SelectionScoreTest, RecallIsTheAttendedMass) {
  EXPECT_NEAR(Score(kSome, 60).recall, Recall(kSome), 1e-6);
  EXPECT_EQ(Score(kSome, 60).attended, 60);
  EXPECT_EQ(Score({{0, 100}, {100, 300}}, 300).recall, 1.0f);
}

TEST_F(SelectionScoreTest, OutputErrorIsThatOfTheRenormalisedSoftmax) {
  const auto full = Output(Probabilities(std::vector<char>(kEntries, 1)));
  const auto chosen = Output(Probabilities(Marks(kSome)));
  double error2 = 0, full2 = 0, chosen2 = 0, cross = 0;
  for (size_t i = 0; i < full.size(); ++i) {
    error2 += (chosen[i] - full[i]) * (chosen[i] - full[i]);
    full2 += full[i] * full[i];
    chosen2 += chosen[i] * chosen[i];
    cross += full[i] * chosen[i];
  }
  const SelectionScore score = Score(kSome, 60);
  EXPECT_NEAR(score.error2, error2, 1e-5);
  EXPECT_NEAR(score.full2, full2, 1e-5);
  EXPECT_NEAR(score.chosen2, chosen2, 1e-5);
  EXPECT_NEAR(score.cross, cross, 1e-5);
}

TEST_F(SelectionScoreTest, ChosenSentencesAreComparedWithTheTrueTop) {
  const policy::SentenceView view =
      policy::ViewSentences(truth_, sentences_, policy::BudgetSplit(64));
  const auto best = std::ranges::max_element(view.sentences, {}, &policy::SentenceMass::mass);
  const auto worst = std::ranges::min_element(view.sentences, {}, &policy::SentenceMass::mass);
  const SelectionScore good = Score({best->range}, 64);
  EXPECT_EQ(good.top_chosen[0], 1);
  EXPECT_EQ(good.top_chosen[1], 0.25f);
  EXPECT_EQ(good.precision, 1);
  const SelectionScore bad = Score({worst->range}, 64);
  EXPECT_EQ(bad.top_chosen[0], 0);
  EXPECT_EQ(bad.precision, 0);
}

TEST_F(SelectionScoreTest, NeedleIsTheShareOfItsTokens) {
  EXPECT_EQ(Score(kSome, 60, {70, 80}).needle, 0.5f);
  EXPECT_EQ(Score(kSome, 60, {0, 0}).needle, 1.0f);
  EXPECT_NEAR(Score(kSome, 60, {70, 80}).needle_mass, Recall({{70, 80}}), 1e-6);
}

}  // namespace
}  // namespace skv::eval
