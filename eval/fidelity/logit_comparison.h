#pragma once
// Next-token distributions of a policy against those of full attention. Pure.

#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "common/types.h"

namespace skv::eval {

// Index of the largest logit; ties towards the smaller id.
TokenId Argmax(std::span<const float> logits);

// -log of the probability of `token`, in nats.
double NegativeLogLikelihood(std::span<const float> logits, TokenId token);

// F5, F6 and F7 of one setting, step by step.
class LogitComparison {
 public:
  // `full` and `policy` [vocab_size]: logits after the same tokens.
  void Add(std::span<const float> full, std::span<const float> policy);

  //   f5_kl, f5_kl_p99: KL(full || policy) in nats, mean and 99th percentile over steps
  //   f6_top1, f6_top5: share of steps with the same likeliest token; mean overlap of the 5
  //     likeliest
  //   f7_free_run: steps before the first other token in greedy decoding (all when there is none)
  nlohmann::json Summarize() const;

 private:
  std::vector<double> divergences_, top1_, top5_;
};

}  // namespace skv::eval
