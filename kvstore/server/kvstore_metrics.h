#pragma once
// What a store process exports: docs/metrics.md lists the names.

#include "common/metrics.h"
#include "kvstore/server/server_status.h"
#include "kvstore/server/session_handler.h"

namespace skv::kvstore {

// Read from `status` at each scrape. `status` and `metrics` outlive whatever scrapes.
void AddKvStoreMetrics(const EntryTableOptions& index, const SessionHandlerOptions& sessions,
                       const ServerStatus* status, Metrics* metrics);

}  // namespace skv::kvstore
