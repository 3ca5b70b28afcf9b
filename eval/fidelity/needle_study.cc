#include "eval/fidelity/needle_study.h"

#include <algorithm>

#include "common/status.h"
#include "eval/fidelity/chat_question.h"
#include "eval/fidelity/greedy_answers.h"
#include "eval/fidelity/logit_comparison.h"
#include "eval/fidelity/shadow_policy.h"

namespace skv::eval {
namespace {

// The tokens that hold the bytes of sample.span.
policy::PositionRange NeedleTokens(const text::Tokenizer& tokenizer,
                                   const std::vector<TokenId>& tokens, const NeedleSample& sample) {
  std::string text;
  std::vector<int> ends;
  for (const TokenId token : tokens) {
    text += tokenizer.TokenBytes(token);
    ends.push_back(static_cast<int>(text.size()));
  }
  const size_t input = text.find(sample.input);
  if (input == std::string::npos || sample.span.begin == sample.span.end) return {0, 0};
  const int begin = static_cast<int>(input) + sample.span.begin;
  const int end = static_cast<int>(input) + sample.span.end;
  const auto first = std::ranges::upper_bound(ends, begin);
  const auto last = std::ranges::lower_bound(ends, end);
  return {static_cast<int>(first - ends.begin()), static_cast<int>(last - ends.begin()) + 1};
}

class NeedleStudy {
 public:
  NeedleStudy(ModelRunner* runner, const NeedleSample& sample, const std::vector<Setting>& settings)
      : runner_(runner),
        sample_(sample),
        settings_(settings),
        sheet_({static_cast<int>(settings.size()), sample.max_tokens, runner->shape(1).num_layers,
                runner->shape(1).num_kv_heads}) {}

  absl::Status Run() {
    SKV_ASSIGN_OR_RETURN(
        tokens_, EncodeQuestion(runner_->tokenizer(), sample_.input, sample_.answer_prefix));
    needle_ = NeedleTokens(runner_->tokenizer(), tokens_, sample_);
    SKV_RETURN_IF_ERROR(Prefill());
    StartAnswers();
    return DecodeAnswers(runner_, sample_.max_tokens, &answers_);
  }

  std::map<std::string, nlohmann::json> Results() const {
    std::map<std::string, nlohmann::json> results;
    const int num_steps = answers_.front().num_steps;
    const auto& shadow = static_cast<const ShadowPolicy&>(*answers_.front().sequence->policy);
    for (size_t i = 0; i < settings_.size(); ++i) {
      const int number = static_cast<int>(i);
      nlohmann::json json = sheet_.Summarize(number, num_steps, needle_.begin != needle_.end);
      json["index_tokens"] = shadow.candidate(number).index_bytes() / runner_->token_bytes();
      results[settings_[i].name()] = std::move(json);
    }
    for (const Answer& answer : answers_) {
      nlohmann::json& json = results[answer.setting];
      json["answer"] = answer.text;
      json["score"] = MatchAll(answer.text, sample_.outputs);
      json["prompt_tokens"] = tokens_.size();
    }
    return results;
  }

 private:
  absl::Status Prefill() {
    const int last = static_cast<int>(tokens_.size()) - 1;
    const auto on_logits = [&](int, std::span<const float> logits) { first_ = Argmax(logits); };
    SKV_ASSIGN_OR_RETURN(
        prompt_, runner_->Prefill(tokens_, ShadowPolicy::Maker(settings_), last, on_logits));
    return absl::OkStatus();
  }

  // The first answer is that of full attention, which scores the selections on its way.
  void StartAnswers() {
    const auto& prompt_policy = static_cast<const ShadowPolicy&>(*prompt_->policy);
    Sequence& full = Add("full");
    full.policy = prompt_policy.ForkPrompt(&full.tracker.sentences());
    static_cast<ShadowPolicy&>(*full.policy)
        .StartScoring({.sheet = &sheet_, .needle = needle_}, sample_.max_tokens);
    for (size_t i = 0; i < settings_.size(); ++i) {
      if (settings_[i].shadow_only || settings_[i].params.name == "full") continue;
      Sequence& sequence = Add(settings_[i].name());
      sequence.policy =
          prompt_policy.ForkCandidate(static_cast<int>(i), &sequence.tracker.sentences());
    }
  }

  Sequence& Add(const std::string& setting) {
    answers_.push_back({setting, runner_->Fork(*prompt_), first_});
    return *answers_.back().sequence;
  }

  ModelRunner* const runner_;
  const NeedleSample& sample_;
  const std::vector<Setting>& settings_;
  std::vector<TokenId> tokens_;
  policy::PositionRange needle_{0, 0};
  TokenId first_ = 0;
  std::unique_ptr<Sequence> prompt_;
  std::vector<Answer> answers_;
  ScoreSheet sheet_;
};

}  // namespace

absl::StatusOr<NeedleSample> ParseNeedleSample(const std::string& line) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  const auto is_string = [&](const char* key) {
    return json.contains(key) && json[key].is_string();
  };
  if (!json.is_object() || !is_string("task") || !is_string("input") ||
      !is_string("answer_prefix") || !json.contains("seed") || !json["seed"].is_number_integer() ||
      !json.contains("outputs") || !json["outputs"].is_array()) {
    return absl::InvalidArgumentError(
        "--samples: expected lines {\"task\", \"seed\", \"input\", \"answer_prefix\", \"outputs\"} "
        "as eval/fidelity/make_needles writes them");
  }
  NeedleSample sample;
  sample.task = json["task"];
  sample.seed = json["seed"];
  sample.input = json["input"];
  sample.answer_prefix = json["answer_prefix"];
  for (const auto& output : json["outputs"]) sample.outputs.push_back(output.get<std::string>());
  sample.max_tokens = json.value("max_tokens", sample.max_tokens);
  if (json.contains("spans") && !json["spans"].empty()) {
    sample.span = {json["spans"][0][0].get<int>(), json["spans"][0][1].get<int>()};
  }
  return sample;
}

absl::StatusOr<std::map<std::string, nlohmann::json>> StudyNeedle(
    ModelRunner* runner, const NeedleSample& sample, const std::vector<Setting>& settings) {
  NeedleStudy study(runner, sample, settings);
  SKV_RETURN_IF_ERROR(study.Run());
  return study.Results();
}

}  // namespace skv::eval
