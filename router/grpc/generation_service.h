#pragma once
// skv.v1 on gRPC's callback API: one reactor for each stream.

#include <atomic>
#include <memory>

#include "grpcpp/support/byte_buffer.h"
#include "router/grpc/stream_writer.h"
#include "router/router.h"
#include "router/task_queue.h"
#include "skv/v1/generation.grpc.pb.h"

namespace skv::router {

struct GenerationServiceOptions {
  StreamWriterOptions writer;
  // Requests that wait for a tokenizer thread; more bytes than these are refused. A single request
  // may be larger.
  int64_t max_waiting_bytes = int64_t{256} << 20;
};

// Takes the request's raw bytes, so that a malformed one is answered by name and not by the
// library.
class GenerationService
    : public skv::v1::Generation::WithRawCallbackMethod_Generate<skv::v1::Generation::Service> {
 public:
  // `router` and `tasks` outlive the server.
  GenerationService(Router* router, TaskQueue* tasks, const Clock* clock,
                    GenerationServiceOptions options)
      : router_(router), tasks_(tasks), clock_(clock), options_(options) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;

 private:
  // Room for a request that waits, given back when the result is destroyed. ResourceExhausted.
  absl::StatusOr<std::shared_ptr<void>> TakeRoom(int64_t num_bytes);

  Router* const router_;
  TaskQueue* const tasks_;
  const Clock* const clock_;
  const GenerationServiceOptions options_;
  // Shared with waiting tasks, which may outlive the service.
  const std::shared_ptr<std::atomic<int64_t>> waiting_bytes_ =
      std::make_shared<std::atomic<int64_t>>(0);
};

class ModelsService : public skv::v1::Models::CallbackService {
 public:
  explicit ModelsService(Router* router) : router_(router) {}

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const skv::v1::ListModelsRequest* request,
                                       skv::v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const skv::v1::GetModelRequest* request,
                                     skv::v1::Model* response) override;

 private:
  Router* const router_;
};

}  // namespace skv::router
