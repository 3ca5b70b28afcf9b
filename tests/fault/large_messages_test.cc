// Many clients send messages far over the limit at once: the router's memory stays bounded, each
// call is answered, and others are served.

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/testing/status_matchers.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

constexpr int kNumClients = 32;
constexpr size_t kMessageBytes = 100'000'000;
// The flag, what the router needs without load, and what comes in while gRPC makes room.
constexpr int64_t kReceiveBytes = int64_t{128} << 20;
constexpr int64_t kMaxRouterBytes = int64_t{512} << 20;

// Most memory that the process ever had.
int64_t PeakBytes(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  std::string word;
  while (file >> word) {
    int64_t kib = 0;
    if (word == "VmHWM:" && file >> kib) return kib << 10;
  }
  return 0;
}

// One call over a connection of its own; all of them send the same bytes, which are there once.
class LargeCall {
 public:
  LargeCall(const std::string& endpoint, const grpc::ByteBuffer& request) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxSendMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = std::make_unique<grpc::GenericStub>(
        grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments));
    context_.set_deadline(std::chrono::system_clock::now() + kPatience);
    context_.set_wait_for_ready(true);
    call_ = stub_->PrepareUnaryCall(&context_, "/skv.v1.Generation/Generate", request, &queue_);
    call_->StartCall();
    call_->Finish(&response_, &status_, nullptr);
  }

  grpc::Status Wait() {
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
    return status_;
  }

 private:
  std::unique_ptr<grpc::GenericStub> stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  grpc::ByteBuffer response_;
  grpc::Status status_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> call_;
};

TEST(LargeMessagesTest, OfManyClientsAtOnceDoNotFillTheRoutersMemory) {
  ASSERT_OK_AND_ASSIGN(const auto cluster,
                       Cluster::Start({.tensor_parallel_size = 1,
                                       .flags = {absl::StrCat("--router-flag=--max-receive-bytes=",
                                                              kReceiveBytes)}}));
  const pid_t router = cluster->Pid("router");
  ASSERT_TRUE(cluster->Serves());
  const grpc::Slice bytes(std::string(kMessageBytes, 'a'));
  const grpc::ByteBuffer request(&bytes, 1);
  std::vector<std::unique_ptr<LargeCall>> calls;
  for (int i = 0; i < kNumClients; ++i) {
    calls.push_back(std::make_unique<LargeCall>(cluster->endpoint(), request));
  }
  for (const auto& call : calls) {
    const grpc::Status status = call->Wait();
    // Unavailable: the connection was closed before its call had begun.
    EXPECT_TRUE(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED ||
                status.error_code() == grpc::StatusCode::UNAVAILABLE)
        << status.error_code() << ": " << status.error_message();
  }
  EXPECT_GT(PeakBytes(router), 0);
  EXPECT_LT(PeakBytes(router), kMaxRouterBytes * kSlowdown);
  EXPECT_EQ(cluster->Pid("router"), router) << "it was restarted";
  EXPECT_TRUE(cluster->Serves());
}

}  // namespace
}  // namespace skv::e2e
