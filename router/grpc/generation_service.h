#pragma once
// skv.v1 on gRPC's callback API: one reactor for each stream.

#include <memory>

#include "grpcpp/support/byte_buffer.h"
#include "router/router.h"
#include "router/task_queue.h"
#include "skv/v1/generation.grpc.pb.h"

namespace skv::router {

// Takes the request's raw bytes, so that a malformed one is answered by name and not by the
// library.
class GenerationService
    : public skv::v1::Generation::WithRawCallbackMethod_Generate<skv::v1::Generation::Service> {
 public:
  // `router` and `tasks` outlive the server.
  GenerationService(Router* router, TaskQueue* tasks, const Clock* clock, size_t max_buffer_bytes)
      : router_(router), tasks_(tasks), clock_(clock), max_buffer_bytes_(max_buffer_bytes) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;

 private:
  Router* const router_;
  TaskQueue* const tasks_;
  const Clock* const clock_;
  const size_t max_buffer_bytes_;
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
