#pragma once
// Greedy answers of several sequences, computed together.

#include <memory>
#include <string>
#include <vector>

#include "eval/fidelity/model_runner.h"

namespace skv::eval {

// One sequence's answer as it grows.
struct Answer {
  std::string setting;
  std::unique_ptr<Sequence> sequence;  // what the answer follows is computed
  TokenId next = 0;                    // the answer's first token; later the newest one
  std::vector<TokenId> tokens = {};    // without the end of generation
  std::string text = {};
  int num_steps = 0;  // tokens of the answer that are computed
};

// Decodes each answer up to an end of generation, or to `max_tokens` tokens; one batch a step.
absl::Status DecodeAnswers(ModelRunner* runner, int max_tokens, std::vector<Answer>* answers);

}  // namespace skv::eval
