#pragma once
// An engine in this process that is watched, for tests and measurements: requests in, tokens and
// the bits of every logit row out.

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "worker/engine/in_process_engine.h"

namespace skv::engine {

// Collects one request's events. Thread-safe.
class CollectingSink : public TokenSink {
 public:
  explicit CollectingSink(int num_samples = 1)
      : tokens_(num_samples), explanations_(num_samples), finishes_(num_samples) {}

  bool OnToken(const TokenEvent& event) override;
  void OnFinish(const FinishEvent& event) override;

  // Waits (5 minutes at most) until every sample has finished; false on time-out.
  bool WaitForFinish();
  // Waits until sample 0 has `count` tokens or has finished; false on time-out.
  bool WaitForTokens(size_t count);
  std::vector<TokenId> tokens(int sample_idx = 0) const;
  // That of the finish included.
  std::vector<Explanation> explanations(int sample_idx = 0) const;
  FinishEvent finish(int sample_idx = 0) const;

 private:
  bool AllFinished() const SKV_REQUIRES(mutex_);

  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<std::vector<TokenId>> tokens_ SKV_GUARDED_BY(mutex_);
  std::vector<std::vector<Explanation>> explanations_ SKV_GUARDED_BY(mutex_);
  std::vector<std::optional<FinishEvent>> finishes_ SKV_GUARDED_BY(mutex_);
};

// What one step did, and a hash of the bits of each logit row.
struct StepRecord {
  int num_decodes = 0;   // chunks of one generated token
  int num_prefills = 0;  // other chunks
  int num_rows = 0;
  std::vector<SequenceId> sequences;  // of the chunks, in their order
  std::vector<SequenceId> released;
};

// Records every step. Read it when the engine has stopped, or between requests.
class StepRecorder : public StepObserver {
 public:
  explicit StepRecorder(int vocab_size) : vocab_size_(vocab_size) {}
  void OnStep(const scheduler::PlannedStep& step, const std::vector<float>& logits) override;

  std::vector<StepRecord> steps() const;
  // Hash of the logits from which each token of the sequence was drawn, by position; a position
  // drawn twice (after an eviction) must have had equal bits: else `differences` counts it.
  std::map<int, uint64_t> logit_hashes(SequenceId id) const;
  int differences() const;

 private:
  const int vocab_size_;
  mutable Mutex mutex_;
  std::vector<StepRecord> steps_ SKV_GUARDED_BY(mutex_);
  std::map<SequenceId, std::map<int, uint64_t>> hashes_ SKV_GUARDED_BY(mutex_);
  int differences_ SKV_GUARDED_BY(mutex_) = 0;
};

struct LocalEngineOptions {
  RankOptions rank;
  int max_num_seqs = 64;
  int max_queue = 1024;
  const Clock* clock = &RealClock();  // outlives the engine
  double audit_fraction = 0;
  RankExecutor::AuditSink audit_sink = {};
};

class LocalEngine {
 public:
  static absl::StatusOr<std::unique_ptr<LocalEngine>> Open(const LocalEngineOptions& options);

  Engine& engine() { return engine_->engine(); }
  const Rank& rank() const { return engine_->rank(); }
  const ModelDescription& description() const { return engine_->description(); }
  const StepRecorder& recorder() const { return *recorder_; }

 private:
  LocalEngine() = default;
  std::unique_ptr<StepRecorder> recorder_;
  std::unique_ptr<InProcessEngine> engine_;
};

}  // namespace skv::engine
