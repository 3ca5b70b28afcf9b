#pragma once
// Two questions about one document, in one conversation: is the second one answered as well as if
// it had been the first, on the same keys and values of the document?

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/fidelity/model_runner.h"
#include "eval/fidelity/setting.h"

namespace skv::eval {

struct FollowupSample {
  struct Question {
    std::string text;
    std::string answer_prefix;         // how the assistant begins
    std::vector<std::string> outputs;  // all of them are expected
  };
  std::string task;
  int64_t seed = 0;
  std::string document;
  std::array<Question, 2> questions;
  int max_tokens = 128;  // of an answer
};

// One line of eval/fidelity/make_needles --task followup. InvalidArgument says what is expected.
absl::StatusOr<FollowupSample> ParseFollowupSample(const std::string& line);

// Both orders of the questions. For each order the prompt, document and first question, is computed
// once, and all policies are forked from it. A policy answers the first question. A second fork of
// it goes on with full attention's answer and the second question, whose tokens attend everything,
// as a prompt's do in the next request, while the policy follows them as generated ones; then it
// answers that one with what it has come to. Nothing is selected anew: a policy that dropped a part
// of the document for the first question is without it for the second.
//
// For "full" and each setting by name, of question i: first_scores[i] and first_answers[i], asked
// first; second_scores[i] and second_answers[i], asked behind the other one. Scores are MatchAll's.
// same_document: the document's keys and values are the same bits in both orders.
absl::StatusOr<std::map<std::string, nlohmann::json>> StudyFollowup(
    ModelRunner* runner, const FollowupSample& sample, const std::vector<Setting>& settings);

}  // namespace skv::eval
