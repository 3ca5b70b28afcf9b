#include <grpcpp/grpcpp.h>

#include <iostream>
#include <thread>

#include "bench/engine/bench_session.h"
#include "common/status.h"
#include "common/version.h"
#include "skv/v1/generation.grpc.pb.h"
#include "tools/cli/command.h"
#include "tools/cli/router_channel.h"

namespace skv::cli {
namespace {

constexpr auto kCallTimeout = std::chrono::minutes(10);

// A router's Generation API under the bench protocol; one thread a stream.
class RouterTarget : public bench::BenchTarget {
 public:
  RouterTarget(std::string endpoint, std::shared_ptr<grpc::Channel> channel)
      : endpoint_(std::move(endpoint)), stub_(v1::Generation::NewStub(std::move(channel))) {}
  ~RouterTarget() override { JoinThreads(); }

  nlohmann::json Info() const override {
    return {{"engine", "skv"},
            {"version", std::string(Version())},
            {"system", endpoint_},
            {"threads", nullptr},
            {"settings", {{"transport", "gRPC through the router"}}},
            {"vocab_size", nullptr}};
  }

  absl::Status Start(const std::vector<TokenId>& prompt, int max_tokens,
                     std::shared_ptr<bench::TokenLog> stream) override {
    if (threads_.size() >= kMaxThreads) JoinThreads();
    v1::GenerateRequest request;
    for (const TokenId token : prompt) request.mutable_token_ids()->add_ids(token);
    request.set_max_tokens(max_tokens);
    request.set_temperature(0);
    request.set_ignore_eos(true);
    threads_.emplace_back([this, request = std::move(request), stream = std::move(stream)] {
      stream->Finish(Relay(request, stream.get()));
    });
    return absl::OkStatus();
  }

 private:
  static constexpr size_t kMaxThreads = 256;

  void JoinThreads() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  absl::Status Relay(const v1::GenerateRequest& request, bench::TokenLog* stream) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    const auto reader = stub_->Generate(&context, request);
    v1::GenerateEvent event;
    while (reader->Read(&event)) {
      for (const v1::Token& token : event.tokens()) stream->Add(token.id(), /*margin=*/0);
    }
    return ToAbslStatus(reader->Finish());
  }

  const std::string endpoint_;
  const std::unique_ptr<v1::Generation::Stub> stub_;
  std::vector<std::thread> threads_;
};

absl::Status Run(const std::string& endpoint) {
  SKV_ASSIGN_OR_RETURN(auto channel, ConnectToRouter(endpoint));
  RouterTarget target(endpoint, std::move(channel));
  bench::ServeBenchProtocol(&target, std::cin, std::cout);
  return absl::OkStatus();
}

}  // namespace

Command AddBenchCommand(Flags* program) {
  auto endpoint = std::make_shared<std::string>("127.0.0.1:8070");
  Flags& flags = program->AddCommand(
      "bench", "Answer timing requests, JSON lines on stdin and stdout (bench/peers/PROTOCOL.md)");
  flags.Add("endpoint", endpoint.get(), "Router to measure, host:port");
  flags.SetExamples(
      "  echo '{\"cmd\": \"decode\", \"tokens\": [1, 2, 3], \"n\": 8}' | skv bench --endpoint "
      "localhost:8070");
  return {&flags, [endpoint] { return Run(*endpoint); }};
}

}  // namespace skv::cli
