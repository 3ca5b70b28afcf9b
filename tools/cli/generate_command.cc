#include <unistd.h>

#include <cmath>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "tools/cli/command.h"
#include "tools/cli/default_model.h"
#include "tools/cli/text_source.h"

namespace skv::cli {
namespace {

struct Options {
  RemoteOptions remote;
  LocalOptions local{.model_path = kDefaultModelPath};
  GenerateOptions generate;
  std::string file;
  bool raw = false;
  bool json = false;
};

absl::StatusOr<std::string> ReadAll(const std::string& path) {
  std::stringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("--file ", path, ": cannot be read"));
  text << file.rdbuf();
  return text.str();
}

// The document comes first, as readers of long contexts are used to.
absl::Status AddDocument(Options* options) {
  if (options->file.empty()) return absl::OkStatus();
  SKV_ASSIGN_OR_RETURN(const std::string document, ReadAll(options->file));
  options->generate.prompt = absl::StrCat(document, "\n\n", options->generate.prompt);
  return absl::OkStatus();
}

nlohmann::ordered_json ToJson(const KvSummary& kv) {
  nlohmann::ordered_json json = {{"policy", kv.policy.name}};
  if (policy::HasBudget(kv.policy.name)) json["max_capacity_prompts"] = kv.policy.budget_tokens;
  if (policy::HasSemanticFactor(kv.policy.name)) {
    json["semantic_factor"] = kv.policy.semantic_factor;
  }
  json["fingerprint"] = kv.fingerprint;
  json["generated_positions"] = kv.generated_positions;
  json["attended_tokens"] = kv.means.attended_tokens;
  json["visible_tokens"] = kv.means.visible_tokens;
  json["read_share"] = kv.means.read_share;
  return json;
}

void PrintJson(const std::string& text, const GenerateSummary& summary) {
  nlohmann::ordered_json json = {{"text", text},
                                 {"finish_reason", summary.finish_reason},
                                 {"usage",
                                  {{"prompt_tokens", summary.prompt_tokens},
                                   {"cached_tokens", summary.cached_tokens},
                                   {"completion_tokens", summary.completion_tokens}}},
                                 {"ttft_ms", summary.ttft_ms},
                                 {"decode_ms", summary.decode_ms}};
  if (summary.kv) json["kv"] = ToJson(*summary.kv);
  std::cout << json.dump() << std::endl;
}

void PrintSummary(const GenerateSummary& summary) {
  const int steps = summary.completion_tokens - 1;
  std::cerr << "\n[" << summary.prompt_tokens << " prompt tokens, " << summary.completion_tokens
            << " generated (" << summary.finish_reason << "), TTFT "
            << static_cast<int>(summary.ttft_ms) << " ms";
  if (steps > 0 && summary.decode_ms > 0) {
    std::cerr << ", " << static_cast<int>(steps / summary.decode_ms * 1e3) << " tokens/s";
  }
  if (summary.kv && summary.kv->generated_positions > 0) {
    const policy::KvMeans& means = summary.kv->means;
    std::cerr << "; " << summary.kv->policy.name << " read " << std::lround(means.attended_tokens)
              << " of " << std::lround(means.visible_tokens) << " tokens a step ("
              << std::lround(means.read_share * 100) << " %)";
  }
  std::cerr << "]" << std::endl;
}

absl::Status Run(Options options) {
  options.generate.chat = !options.raw;
  SKV_RETURN_IF_ERROR(AddDocument(&options));
  if (options.generate.prompt.empty()) {
    return absl::InvalidArgumentError("PROMPT: empty; give a text, or --file FILE");
  }
  SKV_ASSIGN_OR_RETURN(const auto source, options.remote.endpoint.empty()
                                              ? OpenLocalSource(options.local)
                                              : OpenRemoteSource(options.remote));
  std::string text;
  SKV_ASSIGN_OR_RETURN(const GenerateSummary summary,
                       source->Generate(options.generate, [&](std::string_view piece) {
                         text += piece;
                         if (!options.json) std::cout << piece << std::flush;
                       }));
  if (options.json) {
    PrintJson(text, summary);
  } else {
    std::cout << std::endl;
    PrintSummary(summary);
  }
  return absl::OkStatus();
}

}  // namespace

Command AddGenerateCommand(Flags* program) {
  auto options = std::make_shared<Options>();
  GenerateOptions& generate = options->generate;
  Flags& flags = program->AddCommand("generate", "Generate text, streaming it");
  flags.AddPositional("prompt", &generate.prompt, "The user's message");
  flags.Add("endpoint", &options->remote.endpoint,
            "Router to ask, host:port; without it a model is loaded into this process");
  flags.Add("timeout-secs", &options->remote.timeout_secs, IntRange{1, 86400},
            "Give a router's answer up after so long");
  flags.Add("model", &options->local.model_path, "GGUF file to load");
  flags.AddChoice("backend", &options->local.backend, {"cpu", "ref"},
                  "Arithmetic; ref is exact and slow");
  flags.Add("threads", &options->local.num_threads, IntRange{0, 1024}, "Threads, 0: all cores");
  flags.Add("file", &options->file, "Document to put before the prompt; - for stdin");
  flags.Add("system", &generate.system, "System message");
  flags.Add("raw", &options->raw, "Continue the prompt as it stands: no chat template");
  flags.Add("max-tokens", &generate.max_tokens, IntRange{1, 1 << 24}, "Most tokens to generate");
  flags.Add("temperature", &generate.temperature, RealRange{0, 100}, "0 is greedy");
  flags.Add("top-p", &generate.top_p, RealRange{1e-9, 1}, "Nucleus, above 0, at most 1");
  flags.Add("seed", &generate.seed, "Seed of the sampler; drawn when missing");
  const auto policies = policy::PolicyNames();
  flags.AddChoice("kv-policy", &generate.kv_policy.name, {policies.begin(), policies.end()},
                  "What generated tokens attend; without it the cluster's default, here full");
  flags.Add("max-capacity-prompts", &generate.kv_policy.max_capacity_prompts,
            IntRange{policy::kMinBudgetTokens, policy::kMaxBudgetTokens},
            "Budget: tokens that a generated token attends; all policies but full have it");
  flags.Add("semantic-factor", &generate.kv_policy.semantic_factor,
            RealRange{0, policy::kMaxSemanticFactor},
            "sentencekv: prompt tokens that stay eligible, as a multiple of the budget; 0: all");
  flags.Add("json", &options->json, "Print one JSON object instead of the text");
  flags.SetExamples(
      "  skv generate \"Name three rivers.\"\n"
      "  skv generate --endpoint localhost:8070 --file report.txt \"Who wrote this?\"\n"
      "  skv generate --kv-policy sentencekv --max-capacity-prompts 512 --file report.txt "
      "\"Who?\"\n"
      "  skv generate --raw --temperature 0.8 --seed 7 \"Once upon a time\"");
  return {&flags, [options] { return Run(*options); }};
}

}  // namespace skv::cli
