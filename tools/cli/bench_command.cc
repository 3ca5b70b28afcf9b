#include <grpcpp/grpcpp.h>

#include <iostream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "bench/engine/bench_session.h"
#include "common/status.h"
#include "common/version.h"
#include "skv/v1/generation.grpc.pb.h"
#include "tools/cli/command.h"

namespace skv::cli {
namespace {

constexpr auto kConnectTimeout = std::chrono::seconds(5);

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
    const auto reader = stub_->Generate(&context, request);
    v1::GenerateEvent event;
    while (reader->Read(&event)) {
      for (const v1::Token& token : event.tokens()) stream->Add(token.id(), /*margin=*/0);
    }
    const grpc::Status status = reader->Finish();
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  }

  const std::string endpoint_;
  const std::unique_ptr<v1::Generation::Stub> stub_;
  std::vector<std::thread> threads_;
};

absl::Status Run(const std::string& endpoint) {
  auto channel = grpc::CreateChannel(endpoint, grpc::InsecureChannelCredentials());
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + kConnectTimeout)) {
    return absl::UnavailableError(absl::StrCat("--endpoint ", endpoint,
                                               ": nobody answers; start a cluster with "
                                               "`skv cluster up` or name another endpoint"));
  }
  RouterTarget target(endpoint, std::move(channel));
  bench::ServeBenchProtocol(&target, std::cin, std::cout);
  return absl::OkStatus();
}

}  // namespace

void AddBenchCommand(CLI::App* app, Action* action) {
  CLI::App* const command = app->add_subcommand(
      "bench", "Answer timing requests, JSON lines on stdin and stdout (bench/peers/PROTOCOL.md)");
  auto endpoint = std::make_shared<std::string>("127.0.0.1:8070");
  command->add_option("--endpoint", *endpoint, "Router to measure, host:port")
      ->envname("SKV_ENDPOINT")
      ->capture_default_str();
  command->footer(
      "Example:\n"
      "  echo '{\"cmd\": \"decode\", \"tokens\": [1, 2, 3], \"n\": 8}' | skv bench --endpoint "
      "localhost:8070");
  command->callback([endpoint, action] { *action = [endpoint] { return Run(*endpoint); }; });
}

}  // namespace skv::cli
