#include "tools/cli/generate_flags.h"

#include <fstream>
#include <iostream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::cli {

absl::StatusOr<std::string> ReadDocument(std::string_view name, const std::string& path) {
  std::stringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(Sv(name), " ", path, ": cannot be read"));
  text << file.rdbuf();
  return text.str();
}

std::string PutBefore(std::string_view document, std::string_view prompt) {
  return absl::StrCat(Sv(document), "\n\n", Sv(prompt));
}

void AddGenerateFlags(Flags* flags, GenerateFlags* options) {
  GenerateOptions& generate = options->generate;
  flags->AddPositional("prompt", &generate.prompt, "The user's message");
  flags->Add("endpoint", &options->remote.endpoint,
             "Router to ask, host:port; without it a model is loaded into this process");
  flags->Add("timeout-secs", &options->remote.timeout_secs, IntRange{1, 86400},
             "Give a router's answer up after so long");
  flags->Add("model", &options->local.model_path, "GGUF file to load");
  flags->AddChoice("backend", &options->local.backend, {"cpu", "ref"},
                   "Arithmetic; ref is exact and slow");
  flags->Add("threads", &options->local.num_threads, IntRange{0, 1024}, "Threads, 0: all cores");
  flags->AddChoice("kv-placement", &options->local.kv_placement, {"in-place", "copied"},
                   "Where generated tokens read what they attend, in this process; see skv-worker");
  flags->Add("file", &options->file, "Document to put before the prompt; - for stdin");
  flags->Add("system", &generate.system, "System message");
  flags->Add("raw", &options->raw, "Continue the prompt as it stands: no chat template");
  flags->Add("max-tokens", &generate.max_tokens, IntRange{1, 1 << 24}, "Most tokens to generate");
  flags->Add("temperature", &generate.temperature, RealRange{0, 100}, "0 is greedy");
  flags->Add("top-p", &generate.top_p, RealRange{1e-9, 1}, "Nucleus, above 0, at most 1");
  flags->Add("seed", &generate.seed, "Seed of the sampler; drawn when missing");
  const auto policies = policy::PolicyNames();
  flags->AddChoice("kv-policy", &generate.kv_policy.name, {policies.begin(), policies.end()},
                   "What generated tokens attend; without it the cluster's default, here full");
  flags->Add("max-capacity-prompts", &generate.kv_policy.max_capacity_prompts,
             IntRange{policy::kMinBudgetTokens, policy::kMaxBudgetTokens},
             "Budget: most tokens that a generated token attends; all policies but full have it");
  flags->Add(
      "semantic-factor", &generate.kv_policy.semantic_factor,
      RealRange{0, policy::kMaxSemanticFactor},
      "sentencekv: prompt tokens that stay eligible, as a multiple of the budget; 0: all, of "
      "sentencekv_colm2025 3 times");
  flags->Add(
      "min-recall", &generate.min_recall, RealRange{1e-9, 1},
      "Share of full attention's mass that the KV policy must hold, above 0, at most 1; below "
      "it a selection attends more. Reads every key: quality, not speed");
  flags->Add("cache-salt", &generate.cache_salt,
             "Reuse only what prompts of the same salt left in the cache, 1 to 128 bytes; empty: "
             "none");
  flags->Add("json", &options->json, "Print one JSON object instead of the text");
}

absl::StatusOr<std::unique_ptr<TextSource>> OpenSource(GenerateFlags* options) {
  options->generate.chat = !options->raw;
  if (!options->file.empty()) {
    SKV_ASSIGN_OR_RETURN(const std::string document, ReadDocument("--file", options->file));
    options->generate.prompt = PutBefore(document, options->generate.prompt);
  }
  if (options->generate.prompt.empty()) {
    return absl::InvalidArgumentError("PROMPT: empty; give a text, or --file FILE");
  }
  return options->remote.endpoint.empty() ? OpenLocalSource(options->local)
                                          : OpenRemoteSource(options->remote);
}

}  // namespace skv::cli
