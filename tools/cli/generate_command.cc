#include <iostream>

#include "common/status.h"
#include "tools/cli/command.h"
#include "tools/cli/generate_flags.h"
#include "tools/cli/generate_output.h"

namespace skv::cli {
namespace {

absl::Status Run(GenerateFlags options) {
  SKV_ASSIGN_OR_RETURN(const auto source, OpenSource(&options));
  std::string text;
  SKV_ASSIGN_OR_RETURN(const GenerateSummary summary, Stream(options, source.get(), &text));
  if (options.json) {
    std::cout << ToJson(text, summary).dump() << std::endl;
  } else {
    PrintSummary(summary);
  }
  return absl::OkStatus();
}

}  // namespace

Command AddGenerateCommand(Flags* program) {
  auto options = std::make_shared<GenerateFlags>();
  Flags& flags = program->AddCommand("generate", "Generate text, streaming it");
  AddGenerateFlags(&flags, options.get());
  flags.SetExamples(
      "  skv generate \"Name three rivers.\"\n"
      "  skv generate --endpoint localhost:8070 --file report.txt \"Who wrote this?\"\n"
      "  skv generate --kv-policy sentencekv --max-capacity-prompts 512 --file report.txt "
      "\"Who?\"\n"
      "  skv generate --raw --temperature 0.8 --seed 7 \"Once upon a time\"");
  return {&flags, [options] { return Run(*options); }};
}

}  // namespace skv::cli
