// skv: the command line.

#include <csignal>
#include <iostream>

#include "common/version.h"
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
  CLI::App app("skv: serving cluster for Llama-family models", "skv");
  app.set_version_flag("--version", "skv " + std::string(Version()));
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  skv cluster up --tp 2                serve it: a router over two tensor-parallel ranks\n"
      "  skv model fetch                      get the default model into models/\n"
      "  skv generate \"Why is the sky blue?\"  answer with the default model in this process\n"
      "  skv generate --endpoint localhost:8070 --file report.txt \"Who wrote this?\"\n"
      "  skv COMMAND --help                   flags and examples of one command");
  Action action;
  AddGenerateCommand(&app, &action);
  AddTokenizeCommand(&app, &action);
  AddModelCommand(&app, &action);
  AddBenchCommand(&app, &action);
  AddClusterCommand(&app, &action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  const absl::Status status = action();
  if (!status.ok()) std::cerr << "skv: " << std::string(status.message()) << std::endl;
  return ExitCode(status);
}

}  // namespace skv::cli

int main(int argc, char** argv) { return skv::cli::Main(argc, argv); }
