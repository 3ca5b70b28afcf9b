#pragma once
// The client that behaves, and says whether the store does: it holds a chain of blocks from the
// beginning to the end, reads all of it again and again, and writes new blocks. Not thread-safe.

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/hostile/store_process.h"
#include "kvstore/server/testing/test_client.h"

namespace skv::hostile {

// Internal, with `problem`, unless `condition`.
absl::Status Expect(bool condition, std::string_view problem);

// Every byte of header and payload is as WriteSentence wrote it.
bool IsWhole(const kvstore::Sentence& sentence, std::span<const std::byte> place);

class HealthyClient {
 public:
  // Its sentences have numbers from `first_number` on. `max_ms`: the longest that a request may
  // take.
  HealthyClient(StoreProcess* store, int first_number, double max_ms);

  // Notes what the gauges are when nobody else is there.
  absl::Status TakeBaseline();
  // Internal: a byte of the chain is not as it was, a request was refused or took too
  // long, a new block is not found by another client; or, within ten seconds, the gauges of what
  // clients hold, and the store's descriptors, did not come back to the baseline.
  absl::Status CheckAll();
  // Leases the chain, reads it, and gives it back; writes a block. For while others do harm.
  absl::Status CheckServed();
  // The longest that a request has taken since the last call.
  double TakeWorstMs();

 private:
  absl::StatusOr<std::map<std::string, double>> HeldGauges() const;
  absl::Status CheckBaseline() const;
  absl::Status CheckChain();
  absl::Status WriteNew(kvstore::Sentence* written);
  template <typename Act>
  auto Timed(Act act);

  StoreProcess* const store_;
  kvstore::TestClient client_;
  std::vector<kvstore::Sentence> chain_;
  std::vector<PrefixKey> keys_;
  std::map<std::string, double> baseline_;
  int next_number_;
  const double max_ms_;
  double worst_ms_ = 0;
};

}  // namespace skv::hostile
