#include "worker/engine/block_store.h"

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "kvstore/client/in_process_block_client.h"
#include "kvstore/client/reconnecting_block_client.h"
#include "kvstore/client/session_block_client.h"

namespace skv::engine {
namespace {

// Steps wait for an attempt to connect: a store on this host answers at once, or not at all.
constexpr Duration kConnectTimeout = std::chrono::milliseconds(200);

}  // namespace

absl::StatusOr<std::unique_ptr<kvstore::BlockClient>> OpenBlockStore(
    const BlockStoreOptions& options) {
  const auto create_local = [options] {
    return kvstore::CreateInProcessBlockClient(
        {.capacity_bytes = options.capacity_bytes, .layout = options.layout});
  };
  if (options.socket.empty()) return create_local();
  const auto connect = [options] {
    const kvstore::SessionClientOptions session = {
        .client_name = absl::StrCat("skv-worker rank ", options.rank),
        .tenant = "",
        .layout = options.layout,
        .rank = options.rank,
        .world_size = options.world_size};
    return kvstore::ConnectSessionBlockClient(options.socket, session,
                                              RealClock().Now() + kConnectTimeout);
  };
  auto client = std::make_unique<kvstore::ReconnectingBlockClient>(connect, create_local,
                                                                   kvstore::ReconnectOptions());
  client->Poll(RealClock().Now());
  return client;
}

}  // namespace skv::engine
