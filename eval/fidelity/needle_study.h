#pragma once
// Questions whose answer stands somewhere in a long text: what each policy answers, and whether its
// selections hold the place (F9), from one prefill.

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/fidelity/model_runner.h"
#include "eval/fidelity/setting.h"

namespace skv::eval {

struct NeedleSample {
  std::string task;
  int64_t seed = 0;
  std::string input;                 // what the user says
  std::string answer_prefix;         // how the assistant begins
  std::vector<std::string> outputs;  // all of them are expected
  int max_tokens = 128;              // of the answer
  policy::PositionRange span{0, 0};  // bytes of `input` that F9 follows; empty: none
};

// One line of eval/fidelity/make_needles. InvalidArgument says which field is wrong.
absl::StatusOr<NeedleSample> ParseNeedleSample(const std::string& line);

// For "full" and each setting by name: answer, score (of MatchAll), and tokens of the prompt; for
// settings also F1, F3, F4, F9, S1 and S2 over the steps of full attention's answer. One that is in
// the shadow only gives no answer. Greedy decoding, up to an end of generation or max_tokens.
absl::StatusOr<std::map<std::string, nlohmann::json>> StudyNeedle(
    ModelRunner* runner, const NeedleSample& sample, const std::vector<Setting>& settings);

}  // namespace skv::eval
