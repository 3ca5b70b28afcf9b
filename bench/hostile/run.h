#pragma once
// All attacks on a store, one after the other, and then clients that die in another.

#include <string>

#include "absl/status/status.h"
#include "bench/hostile/dying_client.h"

namespace skv::hostile {

struct RunOptions {
  std::string store;            // the program skv-kvstore
  std::string only;             // only attacks with this in their name
  double max_latency_ms = 100;  // of a request of the healthy client
  DyingClientOptions dying;     // 0 keys: none dies
};

// Prints one JSON object to standard output, and what it does to standard error.
// Internal: the store is not as it should be. After an attack that did harm the others go on, and
// the result is printed; after the end of the store nothing is.
absl::Status RunHostile(const RunOptions& options);

}  // namespace skv::hostile
