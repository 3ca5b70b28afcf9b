#pragma once
// The scores of all settings at every scored step, layer and KV head, and what they come to.

#include <nlohmann/json.hpp>
#include <vector>

#include "eval/fidelity/selection_score.h"

namespace skv::eval {

class ScoreSheet {
 public:
  struct Shape {
    int num_settings;
    int num_steps;
    int num_layers;
    int num_kv_heads;
  };
  explicit ScoreSheet(const Shape& shape);

  // Different entries may be written at once.
  SelectionScore& at(int setting, int step, int layer, int kv_head);
  const SelectionScore& at(int setting, int step, int layer, int kv_head) const;

  // F1, F3 and F4 of one setting over the first `num_steps` steps, and F9 when `with_needle`:
  //   f1, f1_worst5 (mean of the lowest 5 % of layers, KV heads and steps), f1_layers
  //   f3_top1, f3_top4, f3_top16, f3_precision
  //   f4_error, f4_cosine: means over layers and steps; f4_error_layers
  //   f9_any, f9_mean, f9_retrieval: share of steps at which any (layer, KV head) holds the needle,
  //     mean share of those that do, and that over the tenth with most needle mass
  //   attended: mean entries; scored: mean keys read beside them (SelectionScore)
  nlohmann::json Summarize(int setting, int num_steps, bool with_needle) const;

 private:
  nlohmann::json SummarizeOutput(int setting, int num_steps) const;
  nlohmann::json SummarizeNeedle(int setting, int num_steps) const;

  const Shape shape_;
  std::vector<SelectionScore> scores_;
};

}  // namespace skv::eval
