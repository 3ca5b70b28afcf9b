#pragma once
// One Purge call: a chain of short commands for the store's thread, each of which submits the next.

#include "grpcpp/grpcpp.h"
#include "kvstore/server/command_queue.h"
#include "skv/kvstore/v1/kvstore.pb.h"

namespace skv::kvstore {

// The call's reactor. It takes no more entries than there were at the start: others may go on
// creating. `commands` outlives the call.
grpc::ServerUnaryReactor* StartPurge(CommandQueue* commands, grpc::CallbackServerContext* context,
                                     const v1::PurgeRequest& request, v1::PurgeResponse* response);

}  // namespace skv::kvstore
