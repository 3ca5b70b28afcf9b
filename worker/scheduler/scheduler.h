#pragma once
// Decides what runs in each step. Pure policy: no threads, no clock, no model, no KV memory;
// requests, tokens and the time come in, plans go out, and equal calls give equal plans.
//
// Assumes: the caller runs each plan completely, and before the next Plan reports every wanted
// token with OnToken and the answer to every look-up with OnLookUp (a sequence whose token or
// answer is missing is left out, not an error). Algorithm, in this order:
//   capacity  a request waits until its worst case (prompt + max_tokens, and the working sets of
//             its samples, see capacity.h) fits. By priority, the higher first, then arrival; the
//             first that does not fit holds back all behind it, so none is overtaken for ever. It
//             may evict running requests of strictly lower priority, the lowest and latest first,
//             and no more than it needs.
//   prefix    an admitted request that may take prompt tokens from an earlier computation looks
//             them up first. It is in no chunk until OnLookUp says how many there are, and its
//             prefill begins behind them. Where others are computing its prefix it is held, until
//             LookUpAgain has the next plan look it up anew.
//   batch     every decode gets its token, then prefills share what is left of the step's token
//             budget, by priority, then arrival (batch.h).
// An evicted request, held or not, waits again in its old place, and starts over: its prompt looked
// up again, as prompt, its generated tokens replayed as generated. The samples of one request are
// admitted and evicted together; the first looks up and computes the prompt, and the others fork
// from it in the step after.
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
  int num_held = 0;  // of those running
  int num_running_sequences = 0;
  int64_t num_preemptions = 0;  // since the start
  int64_t queued_tokens = 0;    // prompt and generation that waiting requests still ask for
  int64_t running_tokens = 0;   // the same for running ones, without what was found in look-ups
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

  // The answer of the ranks to the last look-up of `id`: it is held, or it goes on, and no more is
  // reserved for its prompt than the pool will hold of it. Ignored for a sequence that was
  // cancelled or evicted meanwhile, or that did not look up. REQUIRES: 0 <= num_cached_tokens <=
  // the request's max_cached_tokens; private_kv_tokens is from 0 to what its whole prompt takes.
  void OnLookUp(SequenceId id, const LookUpResult& result);

  // The next plan looks up this sequence again; ignored unless it is held. Calls before the same
  // plan count as one, that may wait if all of them may.
  void LookUpAgain(SequenceId id, bool may_wait);

  // Evicts the request of this sequence if it is running; false if it is not.
  bool Preempt(SequenceId id);

  // The next step. Its index counts the calls.
  PlannedStep Plan();

  // True while the next plan has something to do or an answer is missing. False also when all that
  // run are held and none that waits can be admitted: then only LookUpAgain, a new request, an end
  // or an eviction makes work.
  bool HasWork() const;

  // True while any request is held.
  bool is_holding() const;

  SchedulerStats stats() const;

 private:
  class State;
  const std::unique_ptr<State> state_;
};

}  // namespace skv::scheduler
