// skv: the command line.

#include <algorithm>
#include <iostream>
#include <utility>
#include <vector>

#include "tools/cli/command.h"

namespace skv::cli {

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
      return 2;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 3;
    default:
      return 1;
  }
}

int Main(int argc, char** argv) {
  Flags flags("skv", "Serving cluster for Llama-family models");
  std::vector<Command> commands = {AddGenerateCommand(&flags), AddExplainCommand(&flags),
                                   AddTokenizeCommand(&flags), AddModelCommand(&flags),
                                   AddBenchCommand(&flags),    AddClusterCommand(&flags)};
  for (Command& command : AddKvstoreCommands(&flags)) commands.push_back(std::move(command));
  flags.SetExamples(
      "  skv cluster up --tp 2                serve it: a router over two tensor-parallel ranks\n"
      "  skv model fetch                      get the default model into models/\n"
      "  skv generate \"Why is the sky blue?\"  answer with the default model in this process\n"
      "  skv generate --endpoint localhost:8070 --file report.txt \"Who wrote this?\"\n"
      "  skv COMMAND --help                   flags and examples of one command");
  flags.SetExitCodes(
      "  0  done; `cluster up`: stopped by Ctrl-C or SIGTERM\n"
      "  1  failed\n"
      "  2  wrong use, or a file or model that is not there\n"
      "  3  no cluster or package index: it cannot be reached or started, or the time is over\n"
      "  Ctrl-C ends the other commands by its signal, which a shell shows as 130.");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  const auto chosen = std::ranges::find_if(
      commands, [](const Command& command) { return command.flags->chosen(); });
  const absl::Status status = chosen->run();
  if (!status.ok()) std::cerr << "skv: " << std::string(status.message()) << std::endl;
  return ExitCode(status);
}

}  // namespace skv::cli

int main(int argc, char** argv) { return skv::cli::Main(argc, argv); }
