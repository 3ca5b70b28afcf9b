#pragma once
// What a store process exports of Watch and of commands: docs/metrics.md lists the names.

#include "common/metrics.h"
#include "kvstore/grpc/kvstore_service.h"

namespace skv::kvstore {

// Read at each scrape; all outlive whatever scrapes.
void AddWatchMetrics(const KvStoreServiceOptions& options, const KvStoreService* service,
                     const EventFeed* feed, const CommandQueue* commands, Metrics* metrics);

}  // namespace skv::kvstore
