#pragma once
// Many streams through a router, half of them cancelled, again and again: what is left behind?
// Where each cancel met its request, and how many steps still carried it, is what the workers say
// of it (worker/engine/cancel_log.h).

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
  // Of these, a half survives; of the other half one in two is aimed at its prefill, the rest are
  // cancelled at a random moment.
  int num_streams = 64;
  int prompt_words = 8;  // of survivors and ordinary victims
  // Of those that are aimed at their prefill. They start together, and have more tokens than a
  // step.
  int prefill_prompt_words = 32;
  int survivor_tokens = 12;
  int victim_tokens = 1000;               // at most; far more than a victim gets to see
  std::chrono::seconds idle_timeout{10};  // after a round, until every gauge must be at 0
  int baseline_round = 10;  // memory and descriptors are compared with those after this round
  uint64_t seed = 1;
};

struct StormReport {
  int num_rounds = 0;
  int num_survivors = 0;
  int num_cancelled = 0;  // while their stream was open
  // By the workers, when the cancel arrived: no step had begun on the prompt; a part of it was
  // computed and no more ever was; the step that computed its end was running; decoding.
  int num_waiting = 0, num_in_prefill = 0, num_at_prompt_end = 0, num_in_decode = 0;
  // Most steps that carried a request and had not ended when its cancel arrived, of any request
  // since the workers started; right: at most 1.
  int max_steps_after_cancel = 0;
  int wrong_survivors = 0;  // tokens differ from the solo run, or an error
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
