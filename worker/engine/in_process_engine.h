#pragma once
// The leader of a group inside this process: a rank, an engine over it and the engine's thread. For
// the command line, measurements and tests; skv-worker puts the same parts together around gRPC.

#include <memory>
#include <thread>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "worker/comm/communicator.h"
#include "worker/engine/engine.h"
#include "worker/engine/rank.h"

namespace skv::engine {

struct InProcessOptions {
  RankOptions rank;
  int max_num_seqs = 64;
  int max_queue = 1024;
  const Clock* clock = &RealClock();  // outlives the engine
  StepObserver* observer = nullptr;   // may be null; outlives the engine
  double audit_fraction = 0;          // RankExecutor::StartAudit; called on the engine's thread
  RankExecutor::AuditSink audit_sink = {};
};

class InProcessEngine {
 public:
  // `description` is that of the model that the options name; `communicator` is this rank's, which
  // must be 0. The errors are those of Rank::Open and of SchedulerOptions::Validate.
  static absl::StatusOr<std::unique_ptr<InProcessEngine>> Open(
      const InProcessOptions& options, ModelDescription description,
      std::unique_ptr<comm::Communicator> communicator);
  // Ends what runs as cancelled, then the engine and its followers.
  ~InProcessEngine();

  Engine& engine() { return *engine_; }
  const Rank& rank() const { return *rank_; }
  const ModelDescription& description() const { return description_; }
  const comm::Communicator& communicator() const { return *communicator_; }

 private:
  InProcessEngine() = default;

  ModelDescription description_;
  std::unique_ptr<comm::Communicator> communicator_;
  std::unique_ptr<Rank> rank_;
  std::unique_ptr<Engine> engine_;
  std::thread thread_;
};

}  // namespace skv::engine
