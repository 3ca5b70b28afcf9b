#pragma once
// Calls of a block store, for the commands of `skv kvstore`.

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "skv/kvstore/v1/kvstore.grpc.pb.h"
#include "tools/cli/router_channel.h"

namespace skv::cli {

using StorePtr = std::unique_ptr<kvstore::v1::KvStore::Stub>;

// Of calls that the store answers at once.
inline constexpr std::chrono::seconds kStoreCallTimeout{30};

// Unavailable: nobody answers at `endpoint`, host:port.
inline absl::StatusOr<StorePtr> OpenStore(const std::string& endpoint) {
  auto channel = ConnectToStore(endpoint);
  if (!channel.ok()) return channel.status();
  return kvstore::v1::KvStore::NewStub(*std::move(channel));
}

// One call of a method of the stub.
template <typename Method, typename Request, typename Response>
absl::Status CallStore(const StorePtr& store, Method method, std::chrono::seconds timeout,
                       const Request& request, Response* response) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  return ToAbslStatus(((*store).*method)(&context, request, response));
}

}  // namespace skv::cli
