#include "eval/fidelity/score_sheet.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skv::eval {
namespace {

// A head holds the needle when this share of its tokens is attended: a sentence boundary may cut
// off the token that holds its first or last character.
constexpr float kHeldShare = 0.9f;

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / std::max<size_t>(1, values.size());
}

// Of the lowest 5 %, at least one.
double WorstMean(std::vector<double> values) {
  std::ranges::sort(values);
  values.resize((values.size() + 19) / 20);
  return Mean(values);
}

}  // namespace

ScoreSheet::ScoreSheet(const Shape& shape)
    : shape_(shape),
      scores_(size_t(shape.num_settings) * shape.num_steps * shape.num_layers *
              shape.num_kv_heads) {}

SelectionScore& ScoreSheet::at(int setting, int step, int layer, int kv_head) {
  return const_cast<SelectionScore&>(std::as_const(*this).at(setting, step, layer, kv_head));
}

const SelectionScore& ScoreSheet::at(int setting, int step, int layer, int kv_head) const {
  const size_t row = (size_t(setting) * shape_.num_steps + step) * shape_.num_layers + layer;
  return scores_[row * shape_.num_kv_heads + kv_head];
}

nlohmann::json ScoreSheet::Summarize(int setting, int num_steps, bool with_needle) const {
  std::vector<double> recalls, layer_means, precision, attended, scored;
  std::array<std::vector<double>, kTopSentences.size()> top;
  for (int layer = 0; layer < shape_.num_layers; ++layer) {
    const size_t first = recalls.size();
    for (int step = 0; step < num_steps; ++step) {
      for (int head = 0; head < shape_.num_kv_heads; ++head) {
        const SelectionScore& score = at(setting, step, layer, head);
        recalls.push_back(score.recall);
        precision.push_back(score.precision);
        attended.push_back(score.attended);
        scored.push_back(score.scored);
        for (size_t k = 0; k < top.size(); ++k) top[k].push_back(score.top_chosen[k]);
      }
    }
    layer_means.push_back(Mean({recalls.begin() + first, recalls.end()}));
  }
  nlohmann::json json = SummarizeOutput(setting, num_steps);
  json["f1"] = Mean(recalls);
  json["f1_worst5"] = WorstMean(recalls);
  json["f1_layers"] = layer_means;
  for (size_t k = 0; k < top.size(); ++k) {
    json[absl::StrCat("f3_top", kTopSentences[k])] = Mean(top[k]);
  }
  json["f3_precision"] = Mean(precision);
  json["attended"] = Mean(attended);
  json["scored"] = Mean(scored);
  if (with_needle) json.update(SummarizeNeedle(setting, num_steps));
  return json;
}

nlohmann::json ScoreSheet::SummarizeOutput(int setting, int num_steps) const {
  std::vector<double> errors, cosines, layer_means;
  for (int layer = 0; layer < shape_.num_layers; ++layer) {
    const size_t first = errors.size();
    for (int step = 0; step < num_steps; ++step) {
      double error2 = 0, full2 = 0, chosen2 = 0, cross = 0;
      for (int head = 0; head < shape_.num_kv_heads; ++head) {
        const SelectionScore& score = at(setting, step, layer, head);
        error2 += score.error2;
        full2 += score.full2;
        chosen2 += score.chosen2;
        cross += score.cross;
      }
      errors.push_back(full2 > 0 ? std::sqrt(error2 / full2) : 0);
      const double norms = std::sqrt(full2 * chosen2);
      cosines.push_back(norms > 0 ? cross / norms : 0);
    }
    layer_means.push_back(Mean({errors.begin() + first, errors.end()}));
  }
  return {
      {"f4_error", Mean(errors)}, {"f4_cosine", Mean(cosines)}, {"f4_error_layers", layer_means}};
}

nlohmann::json ScoreSheet::SummarizeNeedle(int setting, int num_steps) const {
  const int num_heads = shape_.num_layers * shape_.num_kv_heads;
  std::vector<double> mass(num_heads), held(num_heads), any;
  for (int step = 0; step < num_steps; ++step) {
    bool some = false;
    for (int i = 0; i < num_heads; ++i) {
      const SelectionScore& score =
          at(setting, step, i / shape_.num_kv_heads, i % shape_.num_kv_heads);
      const bool holds = score.needle >= kHeldShare;
      mass[i] += score.needle_mass;
      held[i] += static_cast<double>(holds) / num_steps;
      some |= holds;
    }
    any.push_back(some);
  }
  std::vector<int> by_mass(num_heads);
  std::iota(by_mass.begin(), by_mass.end(), 0);
  std::ranges::stable_sort(by_mass, std::ranges::greater(), [&](int i) { return mass[i]; });
  std::vector<double> retrieval;
  for (int i = 0; i < (num_heads + 9) / 10; ++i) retrieval.push_back(held[by_mass[i]]);
  return {{"f9_any", Mean(any)}, {"f9_mean", Mean(held)}, {"f9_retrieval", Mean(retrieval)}};
}

}  // namespace skv::eval
