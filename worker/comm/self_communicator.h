#pragma once
// The communicator of a group of one rank: every collective is the identity.

#include <memory>

#include "worker/comm/communicator.h"

namespace skv::comm {

// Never waits. After Abort every call returns its reason, like a larger group's.
std::unique_ptr<Communicator> CreateSelfCommunicator();

}  // namespace skv::comm
