#include "worker/engine/in_process_engine.h"

#include <utility>

#include "common/log.h"
#include "common/status.h"

namespace skv::engine {

absl::StatusOr<std::unique_ptr<InProcessEngine>> InProcessEngine::Open(
    const InProcessOptions& options, ModelDescription description,
    std::unique_ptr<comm::Communicator> communicator) {
  auto self = std::unique_ptr<InProcessEngine>(new InProcessEngine);
  self->description_ = std::move(description);
  self->communicator_ = std::move(communicator);
  SKV_ASSIGN_OR_RETURN(self->rank_, Rank::Open(options.rank, self->description_,
                                               self->communicator_.get(), *options.clock));
  self->rank_->executor()->StartAudit(options.audit_fraction, options.audit_sink);
  EngineOptions engine_options =
      self->rank_->MakeEngineOptions(self->description_, options.max_num_seqs,
                                     options.rank.max_num_batched_tokens, options.max_queue);
  SKV_RETURN_IF_ERROR(engine_options.scheduler.Validate());
  self->engine_ =
      std::make_unique<Engine>(std::move(engine_options), self->rank_->executor(),
                               self->communicator_.get(), *options.clock, options.observer);
  self->thread_ = std::thread([engine = self->engine_.get()] {
    const absl::Status status = engine->Run();
    if (!status.ok()) {
      SKV_LOG(ERROR) << "the engine has ended: " << status.ToString();
    }
  });
  return self;
}

InProcessEngine::~InProcessEngine() {
  if (engine_ != nullptr) engine_->Shutdown();
  if (thread_.joinable()) thread_.join();
}

}  // namespace skv::engine
