#include "common/status.h"
#include "skv/llm.h"
#include "tools/cli/text_source.h"

namespace skv::cli {
namespace {

KvPolicy ToPolicy(const KvPolicyOptions& options) {
  KvPolicy policy;
  if (!options.name.empty()) policy.name = options.name;
  policy.max_capacity_prompts = options.max_capacity_prompts;
  policy.semantic_factor = options.semantic_factor;
  return policy;
}

skv::GenerateOptions ToOptions(const GenerateOptions& options) {
  return {.max_tokens = options.max_tokens,
          .sampling = {.temperature = static_cast<float>(options.temperature),
                       .top_p = static_cast<float>(options.top_p),
                       .seed = options.seed},
          .kv_policy = ToPolicy(options.kv_policy),
          .min_recall = options.min_recall,
          .explain_top = options.explain_top,
          .cache_salt = options.cache_salt};
}

std::vector<ChatMessage> ToMessages(const GenerateOptions& options) {
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system});
  messages.push_back({"user", options.prompt});
  return messages;
}

KvSummary ToSummary(const KvReport& report) {
  KvSummary summary{.policy = {.name = report.policy.name},
                    .fingerprint = report.fingerprint,
                    .generated_positions = report.generated_positions,
                    .means = {.attended_tokens = report.attended_tokens,
                              .choosing_tokens = report.choosing_tokens,
                              .visible_tokens = report.visible_tokens,
                              .read_share = report.read_share}};
  policy::PolicyParams& policy = summary.policy;
  policy.budget_tokens = report.policy.max_capacity_prompts.value_or(policy.budget_tokens);
  policy.semantic_factor = report.policy.semantic_factor.value_or(policy.semantic_factor);
  if (report.recall) {
    policy.min_recall = report.recall->min_recall;
    summary.recall = {report.recall->checked, report.recall->widened, report.recall->full};
  }
  return summary;
}

ExplainedSentence ToCommand(const skv::ExplainedSentence& sentence) {
  ExplainedSentence result{.token_begin = sentence.token_begin,
                           .token_end = sentence.token_end,
                           .text = sentence.text,
                           .reads = {}};
  for (const SentenceRead& read : sentence.reads) {
    result.reads.push_back({.token_begin = read.token_begin,
                            .token_end = read.token_end,
                            .text_begin = read.text_begin,
                            .text_end = read.text_end,
                            .text = read.text,
                            .score = read.score,
                            .heads_share = read.heads_share});
  }
  return result;
}

class LocalSource : public TextSource {
 public:
  explicit LocalSource(std::unique_ptr<Llm> llm) : llm_(std::move(llm)) {}

  absl::StatusOr<GenerateSummary> Generate(
      const GenerateOptions& options,
      const std::function<void(std::string_view)>& on_text) override {
    const auto print = [&](std::string_view piece) {
      on_text(piece);
      return true;
    };
    SKV_ASSIGN_OR_RETURN(const Answer answer,
                         options.chat ? llm_->Chat(ToMessages(options), ToOptions(options), print)
                                      : llm_->Complete(options.prompt, ToOptions(options), print));
    GenerateSummary summary{.finish_reason = std::string(Name(answer.finish_reason)),
                            .prompt_tokens = answer.prompt_tokens,
                            .cached_tokens = answer.cached_tokens,
                            .completion_tokens = answer.completion_tokens,
                            .ttft_ms = answer.time_to_first_token_seconds * 1e3,
                            .decode_ms = answer.decode_seconds * 1e3,
                            .kv = ToSummary(answer.kv)};
    for (const skv::ExplainedSentence& sentence : answer.explanations) {
      summary.explanations.push_back(ToCommand(sentence));
    }
    return summary;
  }

 private:
  const std::unique_ptr<Llm> llm_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TextSource>> OpenLocalSource(const LocalOptions& options) {
  SKV_ASSIGN_OR_RETURN(auto llm,
                       Llm::Open(options.model_path, {.num_threads = options.num_threads,
                                                      .backend = options.backend,
                                                      .max_num_seqs = 1,
                                                      .kv_placement = options.kv_placement}));
  return std::make_unique<LocalSource>(std::move(llm));
}

}  // namespace skv::cli
