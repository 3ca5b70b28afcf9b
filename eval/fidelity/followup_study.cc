#include "eval/fidelity/followup_study.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "eval/fidelity/chat_question.h"
#include "eval/fidelity/greedy_answers.h"
#include "eval/fidelity/logit_comparison.h"
#include "eval/fidelity/shadow_policy.h"

namespace skv::eval {
namespace {

class FollowupStudy {
 public:
  FollowupStudy(ModelRunner* runner, const FollowupSample& sample,
                const std::vector<Setting>& settings)
      : runner_(runner), sample_(sample), settings_{Setting{}} {
    std::ranges::copy_if(settings, std::back_inserter(settings_), [](const Setting& setting) {
      return !setting.shadow_only && setting.params.name != "full";
    });
  }

  absl::Status Run() {
    std::array<std::unique_ptr<Sequence>, 2> prompts;
    std::array<std::vector<TokenId>, 2> tokens;
    for (int first = 0; first < 2; ++first) {
      const FollowupSample::Question& question = sample_.questions[first];
      SKV_ASSIGN_OR_RETURN(tokens[first],
                           EncodeQuestion(runner_->tokenizer(),
                                          absl::StrCat(sample_.document, "\n\n", question.text),
                                          question.answer_prefix));
      SKV_ASSIGN_OR_RETURN(prompts[first], Converse(first, tokens[first]));
    }
    const auto end = std::ranges::mismatch(tokens[0], tokens[1]).in1;
    const int num_alike = static_cast<int>(end - tokens[0].begin());
    for (auto& [setting, result] : results_) {
      result["same_document"] = runner_->EqualRows(*prompts[0], *prompts[1], num_alike);
      result["document_tokens"] = num_alike;
    }
    return absl::OkStatus();
  }

  std::map<std::string, nlohmann::json> Results() && { return std::move(results_); }

 private:
  // Asks question `first`, then the other one. Returns the prompt.
  absl::StatusOr<std::unique_ptr<Sequence>> Converse(int first,
                                                     const std::vector<TokenId>& tokens) {
    TokenId next = 0;
    const auto on_logits = [&](int, std::span<const float> logits) { next = Argmax(logits); };
    SKV_ASSIGN_OR_RETURN(auto prompt,
                         runner_->Prefill(tokens, ShadowPolicy::Maker(settings_),
                                          static_cast<int>(tokens.size()) - 1, on_logits));
    std::vector<Answer> answers = Fork(*prompt);
    for (Answer& answer : answers) answer.next = next;
    SKV_RETURN_IF_ERROR(DecodeAnswers(runner_, sample_.max_tokens, &answers));
    Record("first", first, answers);

    const int second = 1 - first;
    std::vector<TokenId> turn = answers.front().tokens;
    SKV_ASSIGN_OR_RETURN(const auto question,
                         EncodeFollowup(runner_->tokenizer(), sample_.questions[second].text,
                                        sample_.questions[second].answer_prefix));
    turn.insert(turn.end(), question.begin(), question.end());
    answers = Fork(*prompt);
    for (size_t i = 0; i < answers.size(); ++i) {
      SKV_ASSIGN_OR_RETURN(answers[i].next, GoOn(turn, settings_[i], answers[i].sequence.get()));
    }
    SKV_RETURN_IF_ERROR(DecodeAnswers(runner_, sample_.max_tokens, &answers));
    Record("second", second, answers);
    return prompt;
  }

  // Computes `turn` with full attention, and the sequence's policy follows it. Returns the token
  // that comes next.
  absl::StatusOr<TokenId> GoOn(const std::vector<TokenId>& turn, const Setting& setting,
                               Sequence* sequence) const {
    TokenId next = 0;
    std::vector<ShadowPolicy::Candidate> candidate;
    candidate.push_back({setting, std::move(sequence->policy)});
    const auto shape = runner_->shape(sequence->cache->num_computed());
    auto shadow =
        std::make_unique<ShadowPolicy>(std::move(candidate), shape, &sequence->tracker.sentences());
    ShadowPolicy& watching = *shadow;
    sequence->policy = std::move(shadow);
    SKV_RETURN_IF_ERROR(runner_->Replay(
        sequence, turn, [&](int, std::span<const float> logits) { next = Argmax(logits); }));
    sequence->policy = watching.TakeCandidate(0);
    return next;
  }

  // Full attention's is the first.
  std::vector<Answer> Fork(const Sequence& prompt) const {
    const auto& shadow = static_cast<const ShadowPolicy&>(*prompt.policy);
    std::vector<Answer> answers;
    for (size_t i = 0; i < settings_.size(); ++i) {
      answers.push_back({settings_[i].name(), runner_->Fork(prompt)});
      Sequence& sequence = *answers.back().sequence;
      sequence.policy = shadow.ForkCandidate(static_cast<int>(i), &sequence.tracker.sentences());
    }
    return answers;
  }

  void Record(const std::string& place, int question, const std::vector<Answer>& answers) {
    for (const Answer& answer : answers) {
      nlohmann::json& result = results_[answer.setting];
      result[place + "_answers"][question] = answer.text;
      result[place + "_scores"][question] =
          MatchAll(answer.text, sample_.questions[question].outputs);
    }
  }

  ModelRunner* const runner_;
  const FollowupSample& sample_;
  std::vector<Setting> settings_;  // full attention, then those that are asked
  std::map<std::string, nlohmann::json> results_;
};

}  // namespace

absl::StatusOr<FollowupSample> ParseFollowupSample(const std::string& line) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  FollowupSample sample;
  try {
    sample.task = json.at("task").get<std::string>();
    sample.seed = json.at("seed").get<int64_t>();
    sample.document = json.at("document").get<std::string>();
    for (size_t i = 0; i < sample.questions.size(); ++i) {
      const nlohmann::json& question = json.at("questions").at(i);
      sample.questions[i] = {question.at("text").get<std::string>(),
                             question.at("answer_prefix").get<std::string>(),
                             question.at("outputs").get<std::vector<std::string>>()};
    }
    sample.max_tokens = json.value("max_tokens", sample.max_tokens);
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError(
        "--followups: expected lines {\"task\", \"seed\", \"document\", \"questions\": two of "
        "{\"text\", \"answer_prefix\", \"outputs\"}} as eval/fidelity/make_needles --task followup "
        "writes them");
  }
  return sample;
}

absl::StatusOr<std::map<std::string, nlohmann::json>> StudyFollowup(
    ModelRunner* runner, const FollowupSample& sample, const std::vector<Setting>& settings) {
  FollowupStudy study(runner, sample, settings);
  SKV_RETURN_IF_ERROR(study.Run());
  return std::move(study).Results();
}

}  // namespace skv::eval
