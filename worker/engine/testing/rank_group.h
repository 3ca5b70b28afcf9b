#pragma once
// A whole rank group in this process, for tests: each rank a thread, over shared memory.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "worker/comm/communicator.h"
#include "worker/engine/testing/local_engine.h"

namespace skv::engine {

class RankGroup {
 public:
  RankGroup(const std::string& model_path, int world_size);
  ~RankGroup();
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  // To be changed before the group runs.
  RankOptions& options(int rank) { return options_[rank]; }

  // Of the requests that Generate makes.
  void Explain(const policy::PolicyParams& policy, int top);
  // `samples` gets those of all ranks.
  void Audit(double fraction, const policy::PolicyParams& policy,
             std::vector<policy::AuditSample>* samples);
  void CopyRows(const policy::PolicyParams& policy);

  struct Result {
    std::vector<TokenId> tokens;
    std::map<int, uint64_t> logit_hashes;  // by position
    std::vector<Explanation> explanations;
    policy::RecallCounts recall;
    int num_cached_tokens = 0;
  };
  struct Lengths {
    int num_prompt_tokens;
    int num_new_tokens;
  };
  // One greedy request in a new engine.
  Result Generate(const Lengths& lengths);

  // Runs `act` while a new engine, and all followers, run.
  void Run(const std::function<void(Engine* engine, const StepRecorder& recorder)>& act);

 private:
  std::unique_ptr<comm::Communicator> Join(int rank) const;
  void Follow(int rank_idx, const ModelDescription& description);
  void Lead(const ModelDescription& description,
            const std::function<void(Engine* engine, const StepRecorder& recorder)>& act);
  void StartAudit(Rank* rank);

  std::vector<RankOptions> options_;  // by rank
  policy::PolicyParams policy_;
  int explain_top_ = 0;
  double audit_fraction_ = 0;
  Mutex mutex_;
  std::vector<policy::AuditSample>* audit_samples_ SKV_GUARDED_BY(mutex_) = nullptr;
  std::string folder_;
};

// Submits a request and waits for its end, which must be well. It is the `number`-th of the engine,
// from 1 on, all of one sample.
RankGroup::Result RunNext(Engine* engine, const StepRecorder& recorder, int number,
                          GenerationRequest request);

}  // namespace skv::engine
