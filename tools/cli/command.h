#pragma once
// The commands of `skv`. Each Add... function declares one command with its flags; Main runs the
// one that was given and turns its status into the exit code.

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "common/flags.h"

namespace skv::cli {

struct Command {
  const Flags* flags;                 // owned by the program's
  std::function<absl::Status()> run;  // once they are parsed
};

Command AddGenerateCommand(Flags* program);
Command AddExplainCommand(Flags* program);
Command AddTokenizeCommand(Flags* program);
Command AddModelCommand(Flags* program);
Command AddBenchCommand(Flags* program);
Command AddClusterCommand(Flags* program);
std::vector<Command> AddKvstoreCommands(Flags* program);

// 0: OK, 1: failed, 2: wrong usage or bad input (InvalidArgument, NotFound), 3: nobody answers
// (Unavailable, DeadlineExceeded). `skv --help` and docs/flags.md tell users.
int ExitCode(const absl::Status& status);

}  // namespace skv::cli
