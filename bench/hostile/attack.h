#pragma once
// What hostile clients do to a store. Each attack says whether the store answered as it should;
// whether it served others all along and kept nothing is for HealthyClient to say.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/hostile/healthy_client.h"
#include "kvstore/server/testing/sentences.h"

namespace skv::hostile {

// The store under attack: 64 MiB, kMaxSessions, and nobody in it but `healthy`.
struct Target {
  static constexpr int kMaxSessions = 4096;
  static constexpr uint64_t kArenaBytes = uint64_t{64} << 20;
  // A payload with which 1024 blocks fill the arena.
  static constexpr uint64_t kLargePayload = (64 << 10) - 128;

  const std::string& socket;
  HealthyClient* healthy;
  int next_number = 1;

  // A sentence that the store has never heard of.
  kvstore::Sentence NewSentence(uint64_t payload_bytes = 64) {
    return kvstore::MakeSentence(next_number++, nullptr, payload_bytes);
  }
};

struct Attack {
  const char* name;
  absl::Status (*run)(Target& target);
};

// Clients that are killed or stopped at a bad moment.
std::vector<Attack> ProcessAttacks();
// Requests that are well-formed and wrong: blocks, keys and leases.
std::vector<Attack> RequestAttacks();
// Packets that are no frames, or not those that a client may send then.
std::vector<Attack> FrameAttacks();
// Connections and requests without end.
std::vector<Attack> FloodAttacks();
// Harm to the memory that clients share.
std::vector<Attack> MemoryAttacks();

}  // namespace skv::hostile
