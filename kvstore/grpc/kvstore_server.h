#pragma once
// The gRPC server of skv-kvstore: skv.kvstore.v1.KvStore and grpc.health.v1. One owner; service()
// may be asked by any thread.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/grpcpp.h"
#include "kvstore/grpc/kvstore_service.h"

namespace skv::kvstore {

struct KvStoreServerOptions {
  std::string host = "127.0.0.1";
  int port = 0;  // 0: any free one
  KvStoreServiceOptions service;
};

class KvStoreServer {
 public:
  // Listens; health says NOT_SERVING, and calls get UNAVAILABLE while `commands` is not open.
  // `feed`, `commands` and `owner`, which submits to `commands`, outlive the server. Unavailable:
  // cannot listen there.
  static absl::StatusOr<std::unique_ptr<KvStoreServer>> Start(const KvStoreServerOptions& options,
                                                              EventFeed* feed,
                                                              CommandQueue* commands,
                                                              CommandStoreOwner* owner);
  // Stops. The owner of the store still answers commands, or has closed their queue.
  ~KvStoreServer();
  KvStoreServer(const KvStoreServer&) = delete;
  KvStoreServer& operator=(const KvStoreServer&) = delete;

  int port() const { return port_; }
  const KvStoreService& service() const { return service_; }
  // Not after Stop.
  void SetServing(bool is_serving);

  // NOT_SERVING; ends Watch calls, gives all others half a second, and returns when every call has
  // ended. Once more does nothing.
  void Stop();

 private:
  KvStoreServer(const KvStoreServerOptions& options, EventFeed* feed, CommandQueue* commands,
                CommandStoreOwner* owner)
      : service_(options.service, feed, commands, owner) {}
  absl::Status Listen(const KvStoreServerOptions& options);

  KvStoreService service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace skv::kvstore
