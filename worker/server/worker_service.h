#pragma once
// skv.worker.v1.Worker on gRPC's callback API, in front of a leader's engine. Thread-safe.

#include <atomic>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "common/mutex.h"
#include "skv/worker/v1/worker.grpc.pb.h"
#include "worker/engine/engine.h"
#include "worker/server/generate_stream.h"

namespace skv::server {

class WorkerService : public worker::v1::Worker::CallbackService {
 public:
  struct Options {
    worker::v1::ModelInfo model_info;  // answered as it stands; its allowed KV policies bind
    uint64_t epoch = 0;                // drawn at start
    std::string store_watch_address;   // where the host's store tells what it has; may be empty
    int max_open_streams = 4096;
    policy::KvHeads kv_heads;                                          // of this rank
    std::function<void()> on_drain;                                    // Drain was called
    std::function<void(const engine::GenerationRequest&)> on_request;  // one goes to the engine
    std::function<void(const engine::FinishEvent&)> on_finish;  // a sample ended; engine thread
  };
  // Engine and executor outlive the service.
  WorkerService(Options options, engine::Engine* engine, const engine::RankExecutor* executor);

  // New requests get UNAVAILABLE from now on; running ones finish.
  void StartDrain() { draining_ = true; }
  const std::atomic<bool>& draining() const { return draining_; }
  int num_open_streams() const;

  grpc::ServerWriteReactor<worker::v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext* context, const worker::v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* CancelSamples(grpc::CallbackServerContext* context,
                                          const worker::v1::CancelSamplesRequest* request,
                                          worker::v1::CancelSamplesResponse* response) override;
  grpc::ServerUnaryReactor* GetModelInfo(grpc::CallbackServerContext* context,
                                         const worker::v1::GetModelInfoRequest* request,
                                         worker::v1::ModelInfo* response) override;
  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* context,
                                    const worker::v1::GetLoadRequest* request,
                                    worker::v1::LoadReport* response) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const worker::v1::DrainRequest* request,
                                  worker::v1::DrainResponse* response) override;

 private:
  absl::Status Register(const std::string& id, const std::shared_ptr<GenerateStream>& stream);
  void Unregister(const std::string& id);

  const Options options_;
  engine::Engine* const engine_;
  const engine::RankExecutor* const executor_;
  std::atomic<bool> draining_{false};
  mutable Mutex mutex_;
  absl::flat_hash_map<std::string, std::weak_ptr<GenerateStream>> streams_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::server
