#pragma once
// F1 to F8 of many settings on one text, from one prefill.

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/fidelity/model_runner.h"
#include "eval/fidelity/setting.h"

namespace skv::eval {

struct TextStudyOptions {
  int length = 8192;        // tokens of the text's prefix and generated steps together
  int steps = 128;          // generated tokens
  int every = 1;            // steps from one that is scored by mass (F1 to F4) to the next
  bool perplexity = false;  // F8 too
};

// Metrics of each setting by its name, and the memory of its index in tokens' worth of keys and
// values (index_tokens). One that is in the shadow only has F1, F3 and F4.
// InvalidArgument: the text has fewer than `length` tokens, or length <= steps.
absl::StatusOr<std::map<std::string, nlohmann::json>> StudyText(
    ModelRunner* runner, const std::vector<TokenId>& text, const std::vector<Setting>& settings,
    const TextStudyOptions& options);

}  // namespace skv::eval
