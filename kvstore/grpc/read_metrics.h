#pragma once
// What a store process exports of Read: docs/metrics.md lists the names.

#include "common/metrics.h"
#include "kvstore/grpc/kvstore_service.h"

namespace skv::kvstore {

// Read at each scrape; `service` outlives whatever scrapes.
void AddReadMetrics(const KvStoreServiceOptions& options, const KvStoreService* service,
                    Metrics* metrics);

}  // namespace skv::kvstore
