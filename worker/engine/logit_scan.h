#pragma once
// Passes over a whole vocabulary of logits. Pure; [n] float32, any alignment. Sums run in fixed
// lanes and order, so results depend on the logits alone.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/types.h"

namespace skv::engine {

struct LogitSummary {
  float largest = 0.0f;
  float second = 0.0f;  // = largest on a tie; -infinity when there is no other
  TokenId argmax = 0;   // the smallest id that has `largest`
  bool valid = false;   // none is NaN or +infinity, some are finite; else nothing else counts
};

LogitSummary Summarize(absl::Span<const float> logits);

// exp(x) for x <= 0, relative error under 3e-7; 0 where it is below 2^-126.
float ExpOfNegative(float x);

// block_sums[b] = sum of exp((logit - largest) / temperature) over kSumBlock logits, the last block
// shorter; returns the sum of all.
constexpr int kSumBlock = 512;
double SumExp(absl::Span<const float> logits, float largest, float temperature,
              std::vector<double>* block_sums);

// maxima[b] = largest of kMaxBlock logits, the last block shorter.
constexpr int kMaxBlock = 32;
void BlockMaxima(absl::Span<const float> logits, std::vector<float>* maxima);

}  // namespace skv::engine
