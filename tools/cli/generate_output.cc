#include "tools/cli/generate_output.h"

#include <cmath>
#include <iostream>

namespace skv::cli {
namespace {

nlohmann::ordered_json ToJson(const KvSummary& kv) {
  nlohmann::ordered_json json = {{"policy", kv.policy.name}};
  if (policy::HasBudget(kv.policy.name)) json["max_capacity_prompts"] = kv.policy.budget_tokens;
  if (policy::HasSemanticFactor(kv.policy.name)) {
    json["semantic_factor"] = kv.policy.semantic_factor;
  }
  json["fingerprint"] = kv.fingerprint;
  json["generated_positions"] = kv.generated_positions;
  json["attended_tokens"] = kv.means.attended_tokens;
  json["choosing_tokens"] = kv.means.choosing_tokens;
  json["visible_tokens"] = kv.means.visible_tokens;
  json["read_share"] = kv.means.read_share;
  if (kv.policy.min_recall > 0) {
    json["recall"] = {{"min_recall", kv.policy.min_recall},
                      {"checked", kv.recall.checked},
                      {"widened", kv.recall.widened},
                      {"full", kv.recall.full}};
  }
  return json;
}

}  // namespace

absl::StatusOr<GenerateSummary> Stream(const GenerateFlags& options, TextSource* source,
                                       std::string* text) {
  absl::StatusOr<GenerateSummary> summary =
      source->Generate(options.generate, [&](std::string_view piece) {
        *text += piece;
        if (!options.json) std::cout << piece << std::flush;
      });
  if (summary.ok() && !options.json) std::cout << std::endl;
  return summary;
}

nlohmann::ordered_json ToJson(const std::string& text, const GenerateSummary& summary) {
  nlohmann::ordered_json json = {{"text", text},
                                 {"finish_reason", summary.finish_reason},
                                 {"usage",
                                  {{"prompt_tokens", summary.prompt_tokens},
                                   {"cached_tokens", summary.cached_tokens},
                                   {"completion_tokens", summary.completion_tokens}}},
                                 {"ttft_ms", summary.ttft_ms},
                                 {"decode_ms", summary.decode_ms},
                                 {"num_migrations", summary.num_migrations}};
  if (summary.kv) json["kv"] = ToJson(*summary.kv);
  return json;
}

void PrintSummary(const GenerateSummary& summary) {
  const int steps = summary.completion_tokens - 1;
  std::cerr << "\n[" << summary.prompt_tokens << " prompt tokens";
  if (summary.cached_tokens > 0) std::cerr << " (" << summary.cached_tokens << " cached)";
  std::cerr << ", " << summary.completion_tokens << " generated (" << summary.finish_reason
            << "), TTFT " << static_cast<int>(summary.ttft_ms) << " ms";
  if (steps > 0 && summary.decode_ms > 0) {
    std::cerr << ", " << static_cast<int>(steps / summary.decode_ms * 1e3) << " tokens/s";
  }
  if (summary.num_migrations > 0) {
    std::cerr << ", went on with another worker group " << summary.num_migrations
              << (summary.num_migrations == 1 ? " time" : " times");
  }
  if (summary.kv && summary.kv->generated_positions > 0) {
    const policy::KvMeans& means = summary.kv->means;
    std::cerr << "; " << summary.kv->policy.name << " read " << std::lround(means.attended_tokens)
              << " of " << std::lround(means.visible_tokens) << " tokens a step";
    if (means.choosing_tokens > 0) {
      std::cerr << " and as much as " << std::lround(means.choosing_tokens) << " to choose them";
    }
    std::cerr << " (" << std::lround(means.read_share * 100) << " %)";
  }
  if (summary.kv && summary.kv->policy.min_recall > 0) {
    const policy::RecallCounts& recall = summary.kv->recall;
    std::cerr << "; " << recall.widened << " of " << recall.checked << " selections held less than "
              << summary.kv->policy.min_recall << " and were widened, " << recall.full
              << " of them to all tokens";
  }
  std::cerr << "]" << std::endl;
}

}  // namespace skv::cli
