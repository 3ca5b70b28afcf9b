#include "eval/fidelity/text_study.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "eval/fidelity/logit_comparison.h"
#include "eval/fidelity/shadow_policy.h"

namespace skv::eval {
namespace {

class TextStudy {
 public:
  TextStudy(ModelRunner* runner, const std::vector<TokenId>& text,
            const std::vector<Setting>& settings, const TextStudyOptions& options)
      : runner_(runner),
        text_(text.data(), options.length),
        settings_(settings),
        options_(options),
        sheet_({static_cast<int>(settings.size()),
                (options.steps + options.every - 1) / options.every, runner->shape(1).num_layers,
                runner->shape(1).num_kv_heads}),
        comparisons_(settings.size()),
        full_losses_(options.length, 0) {}

  absl::Status Run() {
    SKV_RETURN_IF_ERROR(Prefill());
    SKV_RETURN_IF_ERROR(ForkAll());
    SKV_RETURN_IF_ERROR(Decode());
    loops_.clear();
    shadow_.reset();
    prompt_.reset();
    for (size_t i = 0; i < settings_.size() && options_.perplexity; ++i) {
      if (!settings_[i].shadow_only) SKV_RETURN_IF_ERROR(Perplexity(i));
    }
    return absl::OkStatus();
  }

  std::map<std::string, nlohmann::json> Results() const {
    std::map<std::string, nlohmann::json> results;
    for (size_t i = 0; i < settings_.size(); ++i) {
      nlohmann::json json =
          sheet_.Summarize(static_cast<int>(i), num_scored_steps(), /*with_needle=*/false);
      json["index_tokens"] = index_bytes_[i] / runner_->token_bytes();
      if (!settings_[i].shadow_only) {
        json.update(comparisons_[i].Summarize());
        if (perplexities_.contains(i)) json.update(perplexities_.at(i));
      }
      results[settings_[i].name()] = std::move(json);
    }
    return results;
  }

 private:
  int num_prompt() const { return options_.length - options_.steps; }
  int num_scored_steps() const { return (options_.steps + options_.every - 1) / options_.every; }
  bool HasPosition(int position) const { return position + 1 < num_prompt(); }

  // Where the policy takes over; one loss at least is left to it.
  int PerplexityBegin(const Setting& setting) const {
    return std::min(setting.params.budget_tokens, num_prompt() - 2);
  }

  // Full attention's losses come with the logits of the prompt from the smallest budget on.
  absl::Status Prefill() {
    int first_logits = num_prompt() - 1;
    for (const Setting& setting : settings_) {
      if (options_.perplexity) {
        first_logits = std::min(first_logits, PerplexityBegin(setting));
      }
    }
    const auto on_logits = [&](int position, std::span<const float> logits) {
      if (HasPosition(position)) {
        full_losses_[position] = NegativeLogLikelihood(logits, text_[position + 1]);
      }
      next_ = Argmax(logits);
    };
    SKV_ASSIGN_OR_RETURN(prompt_,
                         runner_->Prefill(text_.first(num_prompt()), ShadowPolicy::Maker(settings_),
                                          first_logits, on_logits));
    return absl::OkStatus();
  }

  // One sequence that scores selections, which is full attention, and one for each policy.
  absl::Status ForkAll() {
    shadow_ = runner_->Fork(*prompt_);
    const auto& prompt_policy = static_cast<const ShadowPolicy&>(*prompt_->policy);
    shadow_->policy = prompt_policy.ForkPrompt(&shadow_->tracker.sentences());
    static_cast<ShadowPolicy&>(*shadow_->policy)
        .StartScoring({.sheet = &sheet_, .every = options_.every}, num_scored_steps());
    for (size_t i = 0; i < settings_.size(); ++i) {
      if (settings_[i].shadow_only) continue;
      loops_.push_back(runner_->Fork(*prompt_));
      loop_settings_.push_back(i);
      loops_.back()->policy =
          prompt_policy.ForkCandidate(static_cast<int>(i), &loops_.back()->tracker.sentences());
    }
    return absl::OkStatus();
  }

  // Every sequence is fed what full attention chooses greedily.
  absl::Status Decode() {
    std::vector<Sequence*> sequences = {shadow_.get()};
    for (const auto& loop : loops_) sequences.push_back(loop.get());
    std::vector<float> logits;
    const size_t vocab_size = runner_->vocab_size();
    for (int step = 0; step < options_.steps; ++step) {
      const std::vector<TokenId> tokens(sequences.size(), next_);
      SKV_RETURN_IF_ERROR(runner_->Step(sequences, tokens, &logits));
      const std::span<const float> full(logits.data(), vocab_size);
      for (size_t i = 0; i < loops_.size(); ++i) {
        comparisons_[loop_settings_[i]].Add(full,
                                            {logits.data() + (i + 1) * vocab_size, vocab_size});
      }
      next_ = Argmax(full);
    }
    const auto& shadow = static_cast<const ShadowPolicy&>(*shadow_->policy);
    for (size_t i = 0; i < settings_.size(); ++i) {
      index_bytes_.push_back(shadow.candidate(static_cast<int>(i)).index_bytes());
    }
    return absl::OkStatus();
  }

  // F8: the first `budget` tokens are the prompt, the policy speaks for all after them.
  absl::Status Perplexity(size_t setting) {
    const int begin = PerplexityBegin(settings_[setting]);
    const auto make_policy = [&](const policy::SequenceShape& shape,
                                 const std::vector<policy::Sentence>* sentences) {
      return CreatePolicy(settings_[setting], shape, sentences);
    };
    const auto ignore = [](int, std::span<const float>) {};
    SKV_ASSIGN_OR_RETURN(const auto sequence,
                         runner_->Prefill(text_.first(begin), make_policy, begin, ignore));
    double policy_loss = 0, full_loss = 0;
    int count = 0;
    const auto on_logits = [&](int position, std::span<const float> logits) {
      if (!HasPosition(position)) return;
      policy_loss += NegativeLogLikelihood(logits, text_[position + 1]);
      full_loss += full_losses_[position];
      ++count;
    };
    SKV_RETURN_IF_ERROR(
        runner_->Replay(sequence.get(), text_.subspan(begin, num_prompt() - begin), on_logits));
    perplexities_[setting] = {{"f8_gap", std::exp((policy_loss - full_loss) / count) - 1},
                              {"f8_loss", policy_loss / count},
                              {"f8_full_loss", full_loss / count},
                              {"f8_tokens", count}};
    return absl::OkStatus();
  }

  ModelRunner* const runner_;
  const std::span<const TokenId> text_;
  const std::vector<Setting>& settings_;
  const TextStudyOptions options_;

  std::unique_ptr<Sequence> prompt_, shadow_;
  std::vector<std::unique_ptr<Sequence>> loops_;
  std::vector<size_t> loop_settings_;  // index of each loop's setting
  TokenId next_ = 0;                   // what full attention chooses next

  ScoreSheet sheet_;
  std::vector<size_t> index_bytes_;           // one a setting
  std::vector<LogitComparison> comparisons_;  // one a setting
  std::vector<double> full_losses_;           // of the token after each position
  std::map<size_t, nlohmann::json> perplexities_;
};

}  // namespace

absl::StatusOr<std::map<std::string, nlohmann::json>> StudyText(
    ModelRunner* runner, const std::vector<TokenId>& text, const std::vector<Setting>& settings,
    const TextStudyOptions& options) {
  if (options.length > static_cast<int>(text.size()) || options.length < options.steps + 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("length ", options.length, ", expected ", options.steps + 2,
                     " (steps and two more) to the text's ", text.size(), " tokens"));
  }
  TextStudy study(runner, text, settings, options);
  SKV_RETURN_IF_ERROR(study.Run());
  return study.Results();
}

}  // namespace skv::eval
