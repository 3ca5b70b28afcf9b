// skv-recall-bound: how much of the attention mass that a selection holds can be certified from
// digests of the keys that it leaves out, against what it really holds. One text, one policy; full
// attention is followed. Prints one JSON object.

#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/status.h"
#include "eval/fidelity/model_runner.h"
#include "eval/recall_bound/mass_bound.h"

namespace skv::eval {
namespace {

using policy::PositionRange;

struct Options {
  std::string model;
  std::string text;
  policy::PolicyParams policy{.name = "sentencekv"};
  int length = 8192;
  int steps = 32;
  int unit_tokens = 0;
  int threads = 2;
};

// Shares of one query head's mass at one position and layer.
struct Sample {
  double held;       // by the selection
  double certified;  // at least, by the smaller of both bounds of each unit
};

// Attends everything, and asks another policy what it would attend.
class BoundProbe : public policy::KvPolicy {
 public:
  // `samples` [steps, layers, kv_heads, group_size] outlives the probe. A unit is a sentence, or
  // `unit_tokens` tokens.
  BoundProbe(std::unique_ptr<KvPolicy> policy, const policy::SequenceShape& shape,
             const std::vector<policy::Sentence>* sentences, int unit_tokens,
             std::vector<Sample>* samples)
      : policy_(std::move(policy)),
        shape_(shape),
        sentences_(sentences),
        unit_tokens_(unit_tokens),
        samples_(samples) {}

  void OnPrompt(const policy::HeadView& view, const policy::QueryRows& queries) override {
    policy_->OnPrompt(view, queries);
  }

  void Select(const policy::HeadView& view, const policy::QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const int num_visible = query.first_position + 1;
    attended->push_back({0, num_visible});
    std::vector<PositionRange> chosen;
    policy_->Select(view, query, &chosen);
    std::vector<char> marks(num_visible, 0);
    for (const PositionRange& range : chosen) {
      std::fill(marks.begin() + range.begin, marks.begin() + range.end, 1);
    }
    std::vector<float> keys(int64_t{num_visible} * shape_.head_dim);
    view.kv->ReadKeys(0, num_visible, keys.data());
    const int64_t row =
        (int64_t{query.first_position - shape_.num_prompt_tokens} * shape_.num_layers +
         view.layer) *
            shape_.num_kv_heads +
        view.kv_head;
    for (int h = 0; h < shape_.group_size; ++h) {
      (*samples_)[row * shape_.group_size + h] =
          Measure(query.data + int64_t{h} * shape_.head_dim, keys, marks);
    }
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<policy::Sentence>* s) const override {
    return std::make_unique<BoundProbe>(policy_->ForkPrompt(s), shape_, s, unit_tokens_, samples_);
  }
  size_t index_bytes() const override { return policy_->index_bytes(); }
  size_t sketch_bytes() const override { return policy_->sketch_bytes(); }

 private:
  std::vector<PositionRange> Units(int num_visible) const {
    std::vector<PositionRange> units;
    int begin = 0;
    const auto cut = [&](int end) {
      if (begin < end) units.push_back({begin, end});
      begin = std::max(begin, end);
    };
    if (unit_tokens_ > 0) {
      while (begin < num_visible) cut(std::min(begin + unit_tokens_, num_visible));
    }
    for (const policy::Sentence& s : KnownSentences(*sentences_, num_visible - 1)) cut(s.end);
    cut(num_visible);
    return units;
  }

  Sample Measure(const float* query, const std::vector<float>& keys,
                 const std::vector<char>& marks) const {
    const int num_visible = static_cast<int>(marks.size()), width = shape_.head_dim;
    double held = 0, left = 0, left_bound = 0;
    for (const PositionRange unit : Units(num_visible)) {
      int num_left = 0;
      for (int i = unit.begin; i < unit.end; ++i) {
        const float* const key = keys.data() + int64_t{i} * width;
        double dot = 0;
        for (int c = 0; c < width; ++c) dot += double{query[c]} * key[c];
        (marks[i] ? held : left) += std::exp(dot / std::sqrt(width));
        num_left += !marks[i];
      }
      if (num_left == 0) continue;
      const KeyDigest digest =
          DigestOf(keys.data() + int64_t{unit.begin} * width, unit.end - unit.begin, width);
      left_bound +=
          num_left * std::exp(std::min(BoxBound(digest, query), BallBound(digest, query)));
    }
    return {held / (held + left), held / (held + left_bound)};
  }

  const std::unique_ptr<KvPolicy> policy_;
  const policy::SequenceShape shape_;
  const std::vector<policy::Sentence>* const sentences_;
  const int unit_tokens_;
  std::vector<Sample>* const samples_;
};

nlohmann::ordered_json Summarize(const std::vector<Sample>& samples, double Sample::*share) {
  constexpr double kLevels[] = {0.5, 0.9, 0.95, 0.99};
  double sum = 0;
  std::map<double, int> reached;
  for (const Sample& sample : samples) {
    sum += sample.*share;
    for (const double level : kLevels) reached[level] += sample.*share >= level;
  }
  nlohmann::ordered_json json = {{"mean", sum / samples.size()}};
  for (const double level : kLevels) {
    json[absl::StrCat("share_at_least_", level)] = double(reached[level]) / samples.size();
  }
  return json;
}

absl::Status Run(const Options& options) {
  SKV_ASSIGN_OR_RETURN(const auto runner, ModelRunner::Open({.model_path = options.model,
                                                             .threads = options.threads}));
  std::stringstream bytes;
  bytes << std::ifstream(options.text, std::ios::binary).rdbuf();
  SKV_ASSIGN_OR_RETURN(std::vector<TokenId> tokens, runner->tokenizer().Encode(bytes.str(), {}));
  if (static_cast<int>(tokens.size()) < options.length || options.length <= options.steps) {
    return absl::InvalidArgumentError(absl::StrCat("--text has ", tokens.size(),
                                                   " tokens, expected --length ", options.length,
                                                   ", and that more than --steps"));
  }
  tokens.resize(options.length);
  const std::span<const TokenId> all(tokens);
  const auto shape = runner->shape(options.length - options.steps);
  std::vector<Sample> samples(int64_t{options.steps} * shape.num_layers * shape.num_kv_heads *
                              shape.group_size);
  const auto make_probe =
      [&](const policy::SequenceShape& s,
          const auto* sentences) -> absl::StatusOr<std::unique_ptr<policy::KvPolicy>> {
    SKV_ASSIGN_OR_RETURN(auto policy, policy::CreatePolicy(options.policy, s, sentences));
    return std::make_unique<BoundProbe>(std::move(policy), s, sentences, options.unit_tokens,
                                        &samples);
  };
  const auto ignore = [](int, std::span<const float>) {};
  SKV_ASSIGN_OR_RETURN(const auto sequence,
                       runner->Prefill(all.first(options.length - options.steps), make_probe,
                                       options.length, ignore));
  SKV_RETURN_IF_ERROR(runner->Replay(sequence.get(), all.last(options.steps), ignore));
  const nlohmann::ordered_json report = {{"policy", policy::Fingerprint(options.policy)},
                                         {"length", options.length},
                                         {"steps", options.steps},
                                         {"unit_tokens", options.unit_tokens},
                                         {"held", Summarize(samples, &Sample::held)},
                                         {"certified", Summarize(samples, &Sample::certified)}};
  std::cout << report.dump(2) << std::endl;
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Options options;
  Flags flags("skv-recall-bound", "How much attention mass key digests can certify");
  flags.Add("model", &options.model, "GGUF file");
  flags.Require("model");
  flags.Add("text", &options.text, "Text file; its beginning is read");
  flags.Require("text");
  const auto names = policy::PolicyNames();
  flags.AddChoice("kv-policy", &options.policy.name, {names.begin(), names.end()}, "Policy");
  flags.Add("max-capacity-prompts", &options.policy.budget_tokens,
            IntRange{policy::kMinBudgetTokens, policy::kMaxBudgetTokens}, "Budget");
  flags.Add("length", &options.length, IntRange{2, 1 << 20}, "Tokens of the text");
  flags.Add("steps", &options.steps, IntRange{1, 1 << 16}, "Of these, the last, measured ones");
  flags.Add("unit-tokens", &options.unit_tokens, IntRange{0, 1 << 16},
            "Tokens that one digest stands for; 0: sentences");
  flags.Add("threads", &options.threads, IntRange{1, 1024}, "Threads");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  const absl::Status status = Run(options);
  if (status.ok()) return 0;
  std::cerr << "skv-recall-bound: " << status.ToString() << std::endl;
  return 1;
}

}  // namespace
}  // namespace skv::eval

int main(int argc, char** argv) { return skv::eval::Main(argc, argv); }
