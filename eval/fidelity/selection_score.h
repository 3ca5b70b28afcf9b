#pragma once
// How much of full attention one selection keeps, for one query, layer and KV head. Pure.

#include <array>
#include <vector>

#include "eval/fidelity/true_attention.h"
#include "worker/policy/sentence_mass.h"

namespace skv::eval {

inline constexpr std::array<int, 3> kTopSentences = {1, 4, 16};

struct SelectionScore {
  float recall = 0;  // F1: attended mass, mean over the heads of the group
  // F3. A sentence is chosen when at least half of its tokens are attended.
  std::array<float, kTopSentences.size()> top_chosen = {};  // share of the true top k
  float precision = 0;  // share of the chosen ones that are among as many true top ones
  // F4: sums over the group's heads and channels of the outputs o (full) and s (selection).
  double error2 = 0, full2 = 0, chosen2 = 0, cross = 0;  // |s - o|^2, |o|^2, |s|^2, o . s
  int attended = 0;                                      // entries
  // Keys that were read to choose, beside those of attended entries; a sketch of one counts by its
  // bytes.
  float scored = 0;
  float needle = 0;       // F9: share of the needle's tokens that are attended
  float needle_mass = 0;  // their mass under full attention, mean over the group's heads
};

// `attended` as KvPolicy::Select gives it; `values` [num_visible, head_dim]; an empty needle counts
// as attended.
SelectionScore ScoreSelection(const TrueAttention& truth, const float* values,
                              const policy::SentenceView& view,
                              const std::vector<policy::PositionRange>& attended,
                              policy::PositionRange needle);

}  // namespace skv::eval
