#include <unistd.h>

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

struct Flags {
  std::string endpoint;
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
absl::Status AddDocument(Flags* flags) {
  if (flags->file.empty()) return absl::OkStatus();
  SKV_ASSIGN_OR_RETURN(const std::string document, ReadAll(flags->file));
  flags->generate.prompt = absl::StrCat(document, "\n\n", flags->generate.prompt);
  return absl::OkStatus();
}

void PrintJson(const std::string& text, const GenerateSummary& summary) {
  const nlohmann::ordered_json json = {{"text", text},
                                       {"finish_reason", summary.finish_reason},
                                       {"usage",
                                        {{"prompt_tokens", summary.prompt_tokens},
                                         {"cached_tokens", summary.cached_tokens},
                                         {"completion_tokens", summary.completion_tokens}}},
                                       {"ttft_ms", summary.ttft_ms},
                                       {"decode_ms", summary.decode_ms}};
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
  std::cerr << "]" << std::endl;
}

absl::Status Run(Flags flags) {
  flags.generate.chat = !flags.raw;
  SKV_RETURN_IF_ERROR(AddDocument(&flags));
  if (flags.generate.prompt.empty()) {
    return absl::InvalidArgumentError("PROMPT: empty; give a text, or --file FILE");
  }
  SKV_ASSIGN_OR_RETURN(const auto source, flags.endpoint.empty()
                                              ? OpenLocalSource(flags.local)
                                              : OpenRemoteSource(flags.endpoint));
  std::string text;
  SKV_ASSIGN_OR_RETURN(const GenerateSummary summary,
                       source->Generate(flags.generate, [&](std::string_view piece) {
                         text += piece;
                         if (!flags.json) std::cout << piece << std::flush;
                       }));
  if (flags.json) {
    PrintJson(text, summary);
  } else {
    std::cout << std::endl;
    PrintSummary(summary);
  }
  return absl::OkStatus();
}

}  // namespace

void AddGenerateCommand(CLI::App* app, Action* action) {
  auto flags = std::make_shared<Flags>();
  CLI::App* const command = app->add_subcommand("generate", "Generate text, streaming it");
  command->add_option("prompt", flags->generate.prompt, "The user's message");
  command
      ->add_option("--endpoint", flags->endpoint,
                   "Router to ask, host:port; without it a model is loaded into this process")
      ->envname("SKV_ENDPOINT");
  command->add_option("--model", flags->local.model_path, "GGUF file to load")
      ->envname("SKV_MODEL")
      ->capture_default_str();
  command->add_option("--backend", flags->local.backend, "cpu, or ref (exact and slow)")
      ->capture_default_str();
  command->add_option("--threads", flags->local.num_threads, "Threads, 0: all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("--file", flags->file, "Document to put before the prompt; - for stdin");
  command->add_option("--system", flags->generate.system, "System message");
  command->add_flag("--raw", flags->raw, "Continue the prompt as it stands: no chat template");
  command->add_option("--max-tokens", flags->generate.max_tokens, "Most tokens to generate")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  command->add_option("--temperature", flags->generate.temperature, "0 is greedy")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command->add_option("--top-p", flags->generate.top_p, "Nucleus, above 0, at most 1")
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str();
  command->add_option("--seed", flags->generate.seed, "Seed of the sampler; drawn when missing");
  command->add_flag("--json", flags->json, "Print one JSON object instead of the text");
  command->footer(
      "Examples:\n"
      "  skv generate \"Name three rivers.\"\n"
      "  skv generate --endpoint localhost:8070 --file report.txt \"Who wrote this?\"\n"
      "  skv generate --raw --temperature 0.8 --seed 7 \"Once upon a time\"");
  command->callback([flags, action] { *action = [flags] { return Run(*flags); }; });
}

}  // namespace skv::cli
