#pragma once
// The commands of `skv kvstore` that take their time.

#include "tools/cli/command.h"

namespace skv::cli {

Command AddVerifyCommand(Flags* group);
Command AddWarmCommand(Flags* group);

}  // namespace skv::cli
