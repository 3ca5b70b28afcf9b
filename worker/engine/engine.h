#pragma once
// The leader's step loop: plan, broadcast, forward, sample, publish. Continuous batching: every
// step mixes what the scheduler chose. One thread calls Run; all other public functions are
// thread-safe. When a step fails the group is lost: every request ends with UNAVAILABLE and Run
// returns.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "text/sentence_segmenter.h"
#include "worker/comm/communicator.h"
#include "worker/engine/cancel_log.h"
#include "worker/engine/prefix_stats.h"
#include "worker/engine/prefix_waits.h"
#include "worker/engine/rank_executor.h"
#include "worker/engine/request.h"
#include "worker/engine/sampler.h"
#include "worker/scheduler/scheduler.h"

namespace skv::engine {

// What the keys of prompts start from, beside their salts (common/block_key.h).
struct PrefixNames {
  std::string model_name;
  std::string model_revision;
  std::string segmenter_id;
};

struct EngineOptions {
  scheduler::SchedulerOptions scheduler;
  int vocab_size = 0;
  int max_model_len = 0;                       // longest prompt + max_tokens
  std::vector<TokenId> end_of_generation_ids;  // end a sequence unless it ignores them
  std::shared_ptr<const text::SentenceSegmenter> segmenter;
  // Set where prompts reuse what earlier ones computed: the executor has a PrefixCache.
  std::optional<PrefixNames> prefixes;
};

struct EngineStats {
  scheduler::SchedulerStats scheduler;
  int64_t num_steps = 0;
  int64_t num_prompt_tokens = 0;     // computed as prompt
  int64_t num_generated_tokens = 0;  // drawn
  int num_open_requests = 0;
  int num_prefills = 0;  // sequences whose prompts the running step computes
  CancelStats cancels;
  std::map<std::string, policy::KvUse> kv_use;         // by policy name, of the leader's rank
  std::map<std::string, policy::RecallCounts> recall;  // the same, of all ranks
  // Of all sequences, on the leader's rank; what they mean: RankExecutor.
  int64_t num_held_tokens = 0;
  size_t index_bytes = 0;
  size_t sketch_bytes = 0;
  size_t working_set_bytes = 0;
  size_t step_in_place_bytes = 0;
  kv::WorkingSetUse working_set_use;
  PrefixStats prefix;
};

// Sees every step of the leader; for step logs and tests. Engine thread.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  // `logits` has one row of vocab_size for each chunk of the plan with `sample`.
  virtual void OnStep(const scheduler::PlannedStep& step, const std::vector<float>& logits) = 0;
};

class Engine {
 public:
  // Executor, communicator, clock and observer (may be null) outlive the engine.
  Engine(EngineOptions options, RankExecutor* executor, comm::Communicator* communicator,
         const Clock& clock, StepObserver* observer = nullptr);
  ~Engine();

  // Queues a request; its events come to `sink`, refusals too (OnFinish with kError).
  // InvalidArgument: wrong at first sight, the sink hears nothing. ResourceExhausted: too many
  // requests between two steps. Unavailable: the engine has stopped.
  absl::StatusOr<RequestId> Submit(GenerationRequest request, std::shared_ptr<TokenSink> sink);
  // Ends the request's samples within one step. Unknown ids are ignored.
  void Cancel(RequestId id);
  void CancelSample(RequestId id, int sample_idx);
  // Evicts the request's sequences once, to be rebuilt later: for tests of replay.
  void Preempt(RequestId id);

  // Steps until Shutdown, then ends what is left with UNAVAILABLE, which another group may cure,
  // and returns OK; or returns the failure that broke the group.
  absl::Status Run();
  void Shutdown();

  // As of the beginning or the end of a step, whichever came last.
  EngineStats stats() const;

 private:
  struct Sample;
  struct OpenRequest;
  enum class CommandKind { kSubmit, kCancel, kCancelSample, kPreempt };
  struct Command {
    CommandKind kind;
    RequestId id;
    std::unique_ptr<OpenRequest> request;  // kSubmit
    int sample_idx = 0;                    // kCancelSample
    int64_t num_ended = 0;                 // steps that had ended when it arrived
  };

  absl::Status Validate(const GenerationRequest& request) const;
  void Push(Command command);
  absl::Status Step();
  // Takes what Submit, Cancel and Preempt queued; waits for some when there is nothing to do.
  void TakeCommands();
  void Apply(Command command);
  void Open(RequestId id, std::unique_ptr<OpenRequest> request);
  // A cancel that arrived when `num_ended` steps had ended.
  void CancelRequest(RequestId id, int64_t num_ended);
  void CancelSequence(SequenceId id, int64_t num_ended);
  void ExpireDeadlines();
  // engine_prefixes.cc
  void LookUpAgain();
  void TakeLookUps();
  void UpdatePrefixStats();
  std::optional<PrefixKey> PrefixRoot(const GenerationRequest& request) const;
  int MaxCachedTokens(const GenerationRequest& request) const;
  void MarkScheduled(const scheduler::PlannedStep& step);
  void StartOnce(OpenRequest* open);
  void StartSampling(const OpenRequest& open);
  void SampleAndPublish(const scheduler::PlannedStep& step, const std::vector<float>& logits);
  void PublishToken(SequenceId id, const SampledToken& token, int position, int64_t num_ended);
  // Of the sentences that have ended, those that were not published yet: after an eviction they end
  // again.
  std::vector<Explanation> TakeExplanations(SequenceId id, Sample* sample);
  std::optional<Explanation> LastExplanation(SequenceId id, FinishReason reason) const;
  static Timings MeasureTimings(const Sample& sample);
  void FinishSample(SequenceId id, FinishReason reason, const absl::Status& status);
  void FinishAll(FinishReason reason, const absl::Status& status);
  void UpdateStats();
  bool IsStop(const SamplingParams& params, TokenId token) const;

  const EngineOptions options_;
  RankExecutor* const executor_;
  comm::Communicator* const communicator_;
  const Clock& clock_;
  StepObserver* const observer_;

  // Engine thread.
  scheduler::Scheduler scheduler_;
  Sampler sampler_;
  absl::flat_hash_map<RequestId, std::unique_ptr<OpenRequest>> requests_;
  absl::flat_hash_map<SequenceId, Sample> samples_;
  SequenceId next_sequence_ = 1;
  std::vector<float> logits_;
  CancelLog cancel_log_;
  PrefixWaits prefix_waits_;
  EngineStats totals_;

  mutable Mutex mutex_;
  CondVar has_commands_;
  std::vector<Command> commands_ SKV_GUARDED_BY(mutex_);
  RequestId next_request_ SKV_GUARDED_BY(mutex_) = 1;
  bool shutdown_ SKV_GUARDED_BY(mutex_) = false;
  bool stopped_ SKV_GUARDED_BY(mutex_) = false;
  int64_t num_ended_ SKV_GUARDED_BY(mutex_) = 0;  // steps, empty ones too
  EngineStats stats_ SKV_GUARDED_BY(mutex_);
};

// A follower's loop: receives plans and carries them out until the leader's last. Returns OK after
// shutdown, Aborted when the group broke.
absl::Status RunFollower(RankExecutor* executor, comm::Communicator* communicator);

}  // namespace skv::engine
