#pragma once
// skv.kvstore.v1.KvStore on gRPC's callback API, in front of a store that another thread owns: each
// call becomes commands for that thread (kvstore/server/command_queue.h). Thread-safe.

#include <chrono>
#include <cstdint>

#include "kvstore/grpc/read_pump.h"
#include "kvstore/grpc/watch_pump.h"
#include "kvstore/index/entry_table_types.h"
#include "kvstore/server/command_queue.h"
#include "kvstore/server/command_store_owner.h"
#include "kvstore/server/event_feed.h"
#include "kvstore/tiering/tiering.h"
#include "kvstore/watch/watch_message.h"
#include "skv/kvstore/v1/kvstore.grpc.pb.h"

namespace skv::kvstore {

inline constexpr uint32_t kMaxPinSeconds = 86400;
inline constexpr int kMaxReadKeys = 256;
inline constexpr std::chrono::seconds kMaxReadTime{60};

struct KvStoreServiceOptions {
  StoreEpoch epoch = {};
  EntryTableOptions index;  // limits, to be told
  uint32_t max_watch_streams = 64;
  uint32_t max_read_streams = 16;
  Tiering* tiering = nullptr;         // of the same store, to be told of; outlives the service
  const Clock* clock = &RealClock();  // of writes that take too long; outlives the service
};

// Read is a raw method: its messages are made without a copy of the blocks (read_messages.h).
using KvStoreMethods = v1::KvStore::WithCallbackMethod_Watch<
    v1::KvStore::WithCallbackMethod_GetStats<v1::KvStore::WithCallbackMethod_ListEntries<
        v1::KvStore::WithCallbackMethod_Pin<v1::KvStore::WithCallbackMethod_Unpin<
            v1::KvStore::WithCallbackMethod_Purge<v1::KvStore::WithCallbackMethod_Verify<
                v1::KvStore::WithRawCallbackMethod_Read<v1::KvStore::Service>>>>>>>>;

class KvStoreService : public KvStoreMethods {
 public:
  // `feed`, `commands` and `owner`, which submits to `commands`, outlive this object. It must
  // outlive gRPC's server, which is shut down before this object goes.
  KvStoreService(const KvStoreServiceOptions& options, EventFeed* feed, CommandQueue* commands,
                 CommandStoreOwner* owner);

  // Watch calls end with UNAVAILABLE, and no new ones begin.
  void StopWatches() { watches_.Stop(); }
  WatchGauges watch_gauges() const { return watches_.gauges(); }
  ReadGauges read_gauges() const { return reads_.gauges(); }

  grpc::ServerWriteReactor<v1::WatchResponse>* Watch(grpc::CallbackServerContext* context,
                                                     const v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* GetStats(grpc::CallbackServerContext* context,
                                     const v1::GetStatsRequest* request,
                                     v1::Stats* response) override;
  grpc::ServerUnaryReactor* ListEntries(grpc::CallbackServerContext* context,
                                        const v1::ListEntriesRequest* request,
                                        v1::ListEntriesResponse* response) override;
  grpc::ServerUnaryReactor* Pin(grpc::CallbackServerContext* context, const v1::PinRequest* request,
                                v1::PinResponse* response) override;
  grpc::ServerUnaryReactor* Unpin(grpc::CallbackServerContext* context,
                                  const v1::UnpinRequest* request,
                                  v1::UnpinResponse* response) override;
  grpc::ServerUnaryReactor* Purge(grpc::CallbackServerContext* context,
                                  const v1::PurgeRequest* request,
                                  v1::PurgeResponse* response) override;
  grpc::ServerUnaryReactor* Verify(grpc::CallbackServerContext* context,
                                   const v1::VerifyRequest* request,
                                   v1::VerifyResponse* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Read(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request) override;

 private:
  void AddLimits(v1::Stats* stats) const;

  const KvStoreServiceOptions options_;
  EventFeed* const feed_;
  CommandQueue* const commands_;
  WatchPump watches_;
  ReadPump reads_;
};

}  // namespace skv::kvstore
