#pragma once

#include <memory>
#include <string>

#include "router/membership/group_client.h"

namespace skv::router {

// Speaks skv.worker.v1 and grpc.health.v1 to one worker over one channel of its own. Connects when
// first used and tries again about once a second.
std::shared_ptr<GroupClient> MakeGrpcGroupClient(const std::string& address);

}  // namespace skv::router
