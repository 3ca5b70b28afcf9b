#pragma once
// How long others wait while a client with many leases dies, in a store with many keys.

#include <cstdint>

#include "absl/status/statusor.h"
#include "bench/hostile/healthy_client.h"
#include "bench/hostile/store_process.h"

namespace skv::hostile {

struct DyingClientOptions {
  int64_t num_keys = 10'000'000;
  int rounds = 5;  // clients that die, one after the other
};

struct DyingClientResult {
  int64_t num_sealed = 0;     // entries of the store at the end
  int64_t num_leases = 0;     // of each client that dies; half of them on blocks not yet sealed
  int64_t num_requests = 0;   // that were timed
  double worst_alive_ms = 0;  // of a request while such a client stands still
  double worst_dying_ms = 0;  // from its death on, for a second after its leases are gone
  double resident_bytes = 0;  // of the store, its arena included
};

// A block of one token and 64 bytes for each key, in chains of 20.
// Internal: the store does not serve `healthy` as it should, or does not take all keys.
absl::StatusOr<DyingClientResult> MeasureDyingClients(StoreProcess* store, HealthyClient* healthy,
                                                      const DyingClientOptions& options);

// Bytes of an arena with room for `num_keys` of them and for `healthy`.
uint64_t ArenaBytesFor(int64_t num_keys);

}  // namespace skv::hostile
