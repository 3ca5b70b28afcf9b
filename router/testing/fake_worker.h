#pragma once
// A worker group behind a real gRPC server on port 0: the test scripts its streams.

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "grpcpp/grpcpp.h"
#include "skv/worker/v1/worker.grpc.pb.h"

namespace skv::router {

class FakeWorker : public skv::worker::v1::Worker::Service {
 public:
  using Writer = grpc::ServerWriter<skv::worker::v1::GenerateEvent>;
  // Plays one Generate call, on a thread of its own.
  using Script = std::function<grpc::Status(grpc::ServerContext*,
                                            const skv::worker::v1::GenerateRequest&, Writer*)>;

  explicit FakeWorker(Script script);
  ~FakeWorker() override { Kill(); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // Breaks every connection, as the end of a process does.
  void Kill();

  // For scripts: one token for each byte; false when the call is gone.
  static bool Send(Writer* writer, std::string_view text);
  static void SendFinish(Writer* writer, skv::worker::v1::FinishReason reason);
  // Ends with the call's cancellation.
  static void WaitForCancel(grpc::ServerContext* context);

  int num_calls() const { return num_calls_; }
  int num_open() const { return num_open_; }

 private:
  grpc::Status Generate(grpc::ServerContext* context,
                        const skv::worker::v1::GenerateRequest* request, Writer* writer) override;
  grpc::Status GetModelInfo(grpc::ServerContext*, const skv::worker::v1::GetModelInfoRequest*,
                            skv::worker::v1::ModelInfo* info) override;
  grpc::Status GetLoad(grpc::ServerContext*, const skv::worker::v1::GetLoadRequest*,
                       skv::worker::v1::LoadReport* report) override;

  const Script script_;
  int port_ = 0;
  std::atomic<int> num_calls_{0};
  std::atomic<int> num_open_{0};
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace skv::router
