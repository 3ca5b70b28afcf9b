#pragma once
// The commands of `skv`. Each Add... function declares one command with its flags; Main runs the
// one that was given and turns its status into the exit code.

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

#include "absl/status/status.h"

namespace skv::cli {

// Set by the command that was given; run by main after parsing.
using Action = std::function<absl::Status()>;

void AddGenerateCommand(CLI::App* app, Action* action);
void AddTokenizeCommand(CLI::App* app, Action* action);
void AddModelCommand(CLI::App* app, Action* action);
void AddBenchCommand(CLI::App* app, Action* action);
void AddClusterCommand(CLI::App* app, Action* action);

// 0: OK, 1: failed, 2: wrong usage or bad input (InvalidArgument, NotFound), 3: nobody answers
// (Unavailable, DeadlineExceeded).
int ExitCode(const absl::Status& status);

}  // namespace skv::cli
