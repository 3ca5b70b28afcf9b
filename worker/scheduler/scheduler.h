#pragma once
// Decides what runs in each step. Pure policy: no threads, no clock, no model, no KV memory;
// requests, tokens and the time come in, plans go out, and equal calls give equal plans.
//
// Assumes: the caller runs each plan completely and reports every wanted token with OnToken before
// the next Plan (a sequence whose token is missing is left out, not an error). Algorithm, in this
// order:
//   capacity  a request waits until its worst case (prompt + max_tokens, and the working sets of
//             its samples, see capacity.h) fits. By
//             priority, the higher first, then arrival; the first that does not fit holds back all
//             behind it, so none is overtaken for ever. It may evict running requests of strictly
//             lower priority, the lowest and latest first, and no more than it needs.
//   batch     every decode gets its token, then prefills share what is left of the step's token
//             budget, by priority, then arrival (batch.h).
// An evicted request waits again in its old place, and starts over: its prompt as prompt, its
// generated tokens replayed as generated. The samples of one request are admitted and evicted
// together; the first computes the prompt and the others fork from it in the step after.
//
// Not thread-safe: the engine's thread only.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/clock.h"
#include "common/types.h"
#include "worker/scheduler/planned_step.h"
#include "worker/scheduler/request.h"
#include "worker/scheduler/scheduler_options.h"

namespace skv::scheduler {

// A snapshot derived from the state; counts requests, except where it says sequences.
struct SchedulerStats {
  int num_waiting = 0;    // evicted ones included
  int num_preempted = 0;  // of those waiting, evicted ones
  int num_running = 0;
  int num_running_sequences = 0;
  int64_t num_preemptions = 0;  // since the start
  int64_t queued_tokens = 0;    // prompt and generation that waiting requests still ask for
  int64_t running_tokens = 0;   // the same for running ones
  int64_t kv_tokens_reserved = 0;
  int64_t kv_tokens_capacity = 0;
  int64_t slots_reserved = 0;
};

class Scheduler {
 public:
  // REQUIRES: options.Validate().ok().
  explicit Scheduler(const SchedulerOptions& options);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Queues a request.
  //   InvalidArgument    Validate refuses it, an id is in use, or more samples than --max-num-seqs
  //   ResourceExhausted  larger alone than the capacity (names the flag), or the queue is full
  absl::Status Add(Request request);

  // Ends one sample; unknown ids are ignored. It is in no later plan but to be released.
  void Cancel(SequenceId id);

  // Ends every sample whose request is past its deadline, and returns them.
  std::vector<SequenceId> Expire(TimePoint now);

  // The token that a Draw of the last plan gave. Returns true when the sequence has ended:
  // `finished`, or max_tokens reached. False for a sequence cancelled meanwhile: the token is
  // dropped.
  bool OnToken(SequenceId id, TokenId token, bool finished);

  // Evicts the request of this sequence if it is running; false if it is not.
  bool Preempt(SequenceId id);

  // The next step. Its index counts the calls.
  PlannedStep Plan();

  // True while any sequence lives or is still to be released.
  bool HasWork() const;

  SchedulerStats stats() const;

 private:
  class State;
  const std::unique_ptr<State> state_;
};

}  // namespace skv::scheduler
