#pragma once
// Many streams through a router, half of them cancelled, again and again: what is left behind?

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace skv::eval {

struct ProcessEndpoint {
  std::string name;    // "router", "group 0 rank 0"
  int admin_port = 0;  // of its /metrics
};

struct StormOptions {
  std::string endpoint;  // host:port of the router
  // All processes of the cluster; the cluster serves nobody else.
  std::vector<ProcessEndpoint> processes;
  int num_rounds = 10;
  // Of these, a half survives; of the other half a quarter is cancelled during prefill, the rest at
  // a random moment.
  int num_streams = 64;
  int prompt_words = 8;            // of survivors and ordinary victims
  int prefill_prompt_words = 160;  // of those cancelled during prefill
  int survivor_tokens = 12;
  int victim_tokens = 1000;               // at most; far more than a victim gets to see
  std::chrono::seconds idle_timeout{10};  // after a round, until every gauge must be at 0
  int baseline_round = 10;  // memory and descriptors are compared with those after this round
  uint64_t seed = 1;
};

struct StormReport {
  int num_rounds = 0;
  int num_survivors = 0;
  int num_cancelled = 0;                     // while their stream was open
  int num_cancelled_before_first_token = 0;  // of these: queued or in prefill
  int wrong_survivors = 0;                   // tokens differ from the solo run, or an error
  // Most that a gauge showed `idle_timeout` after a round; 0 everywhere is right.
  double leaked_blocks = 0;   // sentence blocks and slot pages of the ranks
  double leaked_streams = 0;  // open streams, running and waiting requests, the router's in flight
  double leaked_outstanding_tokens = 0;  // of the router
  // Largest growth of any process from the baseline round to the last.
  double descriptor_growth = 0;
  double memory_growth_bytes = 0;     // anonymous
  double slowest_idle_seconds = 0;    // from a round's last end to all gauges at 0
  std::vector<std::string> problems;  // in words, at most 20
};

// Unavailable: the cluster does not answer, or a solo run failed.
absl::StatusOr<StormReport> RunStorm(const StormOptions& options);

}  // namespace skv::eval
