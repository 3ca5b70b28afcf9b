#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "common/status.h"
#include "tools/cli/command.h"
#include "tools/cli/explain_view.h"
#include "tools/cli/generate_flags.h"
#include "tools/cli/generate_output.h"
#include "worker/engine/request.h"

namespace skv::cli {
namespace {

// https://no-color.org: any value but an empty one.
bool WantsColor() {
  const char* const no_color = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) != 0 && (no_color == nullptr || *no_color == '\0');
}

absl::Status Run(GenerateFlags options) {
  SKV_ASSIGN_OR_RETURN(const auto source, OpenSource(&options));
  std::string text;
  SKV_ASSIGN_OR_RETURN(const GenerateSummary summary, Stream(options, source.get(), &text));
  if (options.json) {
    nlohmann::ordered_json json = ToJson(text, summary);
    json["explanations"] = ToJson(summary.explanations);
    std::cout << json.dump() << std::endl;
  } else {
    std::cout << "\n" << RenderExplanations(summary.explanations, WantsColor()) << std::flush;
    PrintSummary(summary);
  }
  return absl::OkStatus();
}

}  // namespace

Command AddExplainCommand(Flags* program) {
  auto options = std::make_shared<GenerateFlags>();
  options->generate.explain_top = kDefaultExplainTop;
  Flags& flags = program->AddCommand(
      "explain", "Generate text, and show which of the prompt's sentences it read");
  AddGenerateFlags(&flags, options.get());
  flags.Add("explain-top", &options->generate.explain_top, IntRange{1, engine::kMaxExplainTop},
            "Sentences of the prompt to name for each generated one");
  flags.SetExamples(
      "  skv explain --file report.txt \"Who wrote this?\"\n"
      "  skv explain --endpoint localhost:8070 --kv-policy sentencekv --file report.txt \"Who?\"\n"
      "  skv explain --json --explain-top 3 --file report.txt \"Who wrote this?\"");
  return {&flags, [options] { return Run(*options); }};
}

}  // namespace skv::cli
