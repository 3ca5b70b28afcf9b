#pragma once
// Carries out step plans on one rank: keeps each admitted sequence's cache and policy, and runs the
// batch. Leader and followers use the same class, so a rank holds no state that the plans do not
// imply. Engine thread only; step_age_seconds, num_steps and num_tokens from any thread.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "common/clock.h"
#include "text/sentence_segmenter.h"
#include "worker/comm/communicator.h"
#include "worker/engine/read_log.h"
#include "worker/engine/sentence_tracker.h"
#include "worker/kv/kv_pool.h"
#include "worker/kv/sequence_cache.h"
#include "worker/kv/slot_pool.h"
#include "worker/kv/working_set.h"
#include "worker/model/llama_model.h"
#include "worker/policy/kv_policy.h"
#include "worker/policy/kv_use.h"
#include "worker/policy/watched_policy.h"
#include "worker/prefix/prefix_cache.h"
#include "worker/scheduler/planned_step.h"
#include "worker/scheduler/step_plan.h"

namespace skv::engine {

class RankExecutor {
 public:
  // Model, pools and communicator, which is also the model's, outlive the executor.
  RankExecutor(model::LlamaModel* model, kv::KvPool* pool, kv::SlotPool* slots,
               comm::Communicator* communicator,
               std::shared_ptr<const text::SentenceSegmenter> segmenter, const Clock& clock);

  // Prompts reuse what `prefixes` knows of earlier ones; it outlives the executor. Of each
  // `verify_every` look-ups that find something one computes a part of it again and compares; 0:
  // none. Before the first step. Without it every look-up finds nothing.
  void UsePrefixes(prefix::PrefixCache* prefixes, int verify_every) {
    prefixes_ = prefixes;
    verify_every_ = verify_every;
  }

  // Releases, admits, looks up, forks and runs the chunks of `plan`. On rank 0 `logits` then holds
  // one row of vocab_size for each chunk with `sample`, in chunk order.
  // Internal: a plan that does not fit this rank's state (ranks lost step), or blocks that it reads
  // are lost. Aborted: a collective failed. After any of them the group must end.
  absl::Status Execute(const scheduler::StepPlan& plan, std::vector<float>* logits);

  // What all ranks together say to a look-up. While its prefix is in progress the sequence holds
  // nothing, and num_cached_tokens are those that rank 0 has found so far.
  struct LookUpAnswer {
    SequenceId id = 0;
    scheduler::LookUpResult result;
  };
  // Of the last step.
  const std::vector<LookUpAnswer>& look_ups() const { return look_ups_; }
  const prefix::PrefixCache* prefixes() const { return prefixes_; }
  // PrefixCache::TakeReady
  std::vector<SequenceId> TakeReady();

  // What a step measured of the selections of `policy`, of one of its sequences.
  using AuditSink =
      std::function<void(const std::string& policy, std::span<const policy::AuditSample> samples)>;
  // Audits a share of the generated positions of this rank's sequences, replayed ones too; not
  // where the policy attends everything. It changes nothing of what a step computes. Before the
  // first step.
  void StartAudit(double fraction, AuditSink sink);

  // Seconds since this rank last ended a layer, a step or its look-ups: its heartbeat.
  double step_age_seconds() const;
  int64_t num_steps() const { return num_steps_.load(std::memory_order_relaxed); }
  int64_t num_tokens() const { return num_tokens_.load(std::memory_order_relaxed); }
  const kv::KvPool& pool() const { return *pool_; }

  // What the attention of one sequence's generated positions read on this rank; zeros for a
  // sequence that this rank does not hold.
  policy::KvUse kv_use(SequenceId id) const;
  // What became of its min_recall in all layers and KV heads of all ranks; zeros where it has none.
  policy::RecallCounts recall_counts(SequenceId id) const;
  // What the sentences that a sequence generates read; it is rank 0's that counts. Null for a
  // sequence that is not explained or not held.
  ReadLog* read_log(SequenceId id);
  // The same over all sequences since the start, by policy name.
  const std::map<std::string, policy::KvUse>& total_kv_use() const { return total_kv_use_; }
  const std::map<std::string, policy::RecallCounts>& total_recall() const { return total_recall_; }
  // Tokens of all sequences, those shared with others included.
  int64_t num_held_tokens() const;
  // Memory of the policies' indices of all sequences, and of their sketches of keys.
  size_t index_bytes() const;
  size_t sketch_bytes() const;
  // Memory of the working sets of all sequences, and what their selections have cost since the
  // start.
  size_t working_set_bytes() const;
  const kv::WorkingSetUse& total_working_set_use() const { return total_working_set_use_; }
  // Keys and values that the last step read where the cache holds them, and sketches of keys, to
  // attend or to choose, for the last generated row of each of its sequences.
  size_t step_in_place_bytes() const;

 private:
  // In a unique_ptr: the policy points at the tracker's sentences.
  struct SequenceState {
    policy::PolicyParams params;
    int num_prompt_tokens;
    SentenceTracker tracker;
    std::optional<SentenceTracker> prompt_tracker;  // as it was when the prompt ended
    std::unique_ptr<kv::SequenceCache> cache;
    std::unique_ptr<policy::KvPolicy> policy;
    std::unique_ptr<kv::WorkingSet> working_set;  // null: everything is read in place
    policy::KvUse use;
    policy::KvUse step_use;                    // of the running step
    policy::WatchedPolicy* watched = nullptr;  // the policy, where something looks at it
    policy::RecallCounts recall;               // of all ranks
    int explain_top = 0;
    std::optional<ReadLog> reads;                 // where the sequence is explained
    std::optional<scheduler::Admission> look_up;  // until its prefix is found or given up
  };
  void Beat();
  absl::Status ApplyMembership(const scheduler::StepPlan& plan);
  absl::Status Admit(const scheduler::Admission& admission);
  // rank_look_ups.cc
  absl::Status LookUpPrefixes(const scheduler::StepPlan& plan);
  absl::StatusOr<prefix::PrefixCache::Hit> LookUpPrefix(const scheduler::LookUp& look_up);
  prefix::PrefixRequest RequestOf(SequenceId id) const;
  absl::StatusOr<std::vector<double>> ShareNumbers(const std::vector<double>& own);
  absl::Status AgreeOnHits(const std::vector<prefix::PrefixCache::Hit>& hits);
  absl::Status ClaimTogether(std::vector<prefix::PrefixCache::Hit>* hits);
  bool IsToBeVerified(int num_cached_tokens);
  absl::Status AgreeOnPrivateTokens(const std::vector<prefix::PrefixCache::Hit>& hits);
  void BeginBehind(prefix::PrefixCache::Hit hit, SequenceState* state);
  absl::Status Fork(const scheduler::Fork& fork, int64_t step_idx);
  absl::Status MakeWorkingSet(int num_slots, SequenceState* state);
  absl::Status ReserveChunks(const scheduler::StepPlan& plan);
  void Commit(const scheduler::StepPlan& plan);
  bool IsAudited(const policy::PolicyParams& policy) const;
  bool IsWatched(const scheduler::Admission& admission) const;
  // The policy is a watched one.
  void StartWatches(SequenceId id, SequenceState* state) const;
  // Of a chunk of generated positions; null where nothing looks at its policy, and for others.
  const policy::WatchedPolicy* Watched(const scheduler::Chunk& chunk) const;
  void CountPlacement(SequenceState* state);
  // Brings what this step's explained rows read from all ranks to the logs of rank 0.
  absl::Status GatherReads(const scheduler::StepPlan& plan);
  // `all`: what each rank gathered, one after another.
  void LogReads(const scheduler::StepPlan& plan, const std::vector<float>& all);
  // Adds what this step's contracts did on all ranks to the counts of every rank.
  absl::Status SumRecall(const scheduler::StepPlan& plan);
  void PublishAudit(const scheduler::StepPlan& plan) const;

  model::LlamaModel* const model_;
  kv::KvPool* const pool_;
  kv::SlotPool* const slots_;
  comm::Communicator* const communicator_;
  const std::shared_ptr<const text::SentenceSegmenter> segmenter_;
  const Clock& clock_;
  prefix::PrefixCache* prefixes_ = nullptr;
  int verify_every_ = 0;
  int64_t num_agreed_hits_ = 0;  // equal on all ranks that have prefixes
  std::vector<LookUpAnswer> look_ups_;
  double audit_fraction_ = 0;
  AuditSink audit_sink_;
  absl::flat_hash_map<SequenceId, std::unique_ptr<SequenceState>> sequences_;
  std::map<std::string, policy::KvUse> total_kv_use_;
  std::map<std::string, policy::RecallCounts> total_recall_;
  kv::WorkingSetUse total_working_set_use_;
  int64_t step_in_place_vectors_ = 0;  // keys and values, each by itself
  int64_t step_sketch_bytes_ = 0;
  std::vector<model::SequenceRows> rows_;
  std::vector<int> logit_rows_;
  std::atomic<Duration::rep> last_beat_;
  std::atomic<int64_t> num_steps_{0};
  std::atomic<int64_t> num_tokens_{0};
};

}  // namespace skv::engine
