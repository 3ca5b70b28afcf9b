#pragma once
// Workers, a router and a client, connected by real sockets.

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "common/testing/eventually.h"
#include "common/testing/status_matchers.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "router/grpc/group_conversions.h"
#include "router/grpc/grpc_group_client.h"
#include "router/grpc/server.h"
#include "router/testing/fake_worker.h"
#include "skv/v1/generation.grpc.pb.h"

namespace skv::router {

namespace pb = ::skv::v1;

class ServerTest : public testing::Test {
 protected:
  void StartCluster(std::vector<FakeWorker::Script> scripts,
                    const GrpcServerOptions& options = {}) {
    std::vector<std::string> addresses;
    for (FakeWorker::Script& script : scripts) {
      workers_.push_back(std::make_unique<FakeWorker>(std::move(script)));
      addresses.push_back(workers_.back()->address());
    }
    membership_ = std::make_unique<Membership>(
        MembershipOptions{.probe_interval = std::chrono::milliseconds(100),
                          .probe_timeout = std::chrono::seconds(10),
                          .stall_timeout = kPatience},
        MakeStaticWorkerSource(addresses).value(), MakeGrpcGroupClient,
        FindPolicy("round_robin").value(), &RealClock());
    membership_->Start();
    router_ = std::make_unique<Router>(
        router_options_, membership_.get(), &RealClock(), [this] { return Draw(); },
        [this](const RelayStats& stats) {
          MutexLock lock(&mutex_);
          ++num_ended_[stats.code];
        });
    server_ = GrpcServer::Start(options, router_.get(), &RealClock()).value();
    grpc::ChannelArguments arguments;
    arguments.SetMaxSendMessageSize(-1);
    // Or the client's transport would take megabytes for a client that does not read.
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    channel_ = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()),
                                         grpc::InsecureChannelCredentials(), arguments);
    generation_ = pb::Generation::NewStub(channel_);
    ASSERT_TRUE(Eventually([&] {
      return membership_->snapshot()->num_healthy_groups() == static_cast<int>(scripts.size());
    }));
  }
  void TearDown() override {
    server_.reset();
    for (const auto& worker : workers_) worker->Kill();
    membership_.reset();
  }

  static pb::GenerateRequest MakeRequest() {
    pb::GenerateRequest request;
    request.set_text("hello");
    request.set_max_tokens(10);
    return request;
  }
  // Runs a request to its end; its text goes to `text`.
  absl::Status Generate(const pb::GenerateRequest& request, std::string* text,
                        pb::GenerateEvent* last = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const auto reader = generation_->Generate(&context, request);
    pb::GenerateEvent event;
    while (reader->Read(&event)) {
      *text += event.text();
      if (last != nullptr) *last = event;
    }
    return ToAbslStatus(reader->Finish());
  }
  absl::Status Generate(const pb::GenerateRequest& request) {
    std::string text;
    return Generate(request, &text);
  }
  int HealthStatus() {
    const auto stub = grpc::health::v1::Health::NewStub(channel_);
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckResponse response;
    EXPECT_TRUE(stub->Check(&context, {}, &response).ok());
    return response.status();
  }

  // Scripts.
  static grpc::Status Answer(grpc::ServerContext*, const worker_pb::GenerateRequest&,
                             FakeWorker::Writer* writer) {
    FakeWorker::Send(writer, "an ");
    FakeWorker::Send(writer, "answer");
    FakeWorker::SendFinish(writer, worker_pb::STOP);
    return grpc::Status::OK;
  }
  // More than the transport takes for a client that does not read, less than the buffer.
  static grpc::Status AnswerALot(grpc::ServerContext*, const worker_pb::GenerateRequest&,
                                 FakeWorker::Writer* writer) {
    for (int i = 0; i < 100; ++i) FakeWorker::Send(writer, std::string(2000, 'x'));
    FakeWorker::SendFinish(writer, worker_pb::STOP);
    return grpc::Status::OK;
  }
  static grpc::Status StartAndHang(grpc::ServerContext* context, const worker_pb::GenerateRequest&,
                                   FakeWorker::Writer* writer) {
    FakeWorker::Send(writer, "x");
    FakeWorker::WaitForCancel(context);
    return grpc::Status::CANCELLED;
  }
  static grpc::Status Refuse(grpc::ServerContext*, const worker_pb::GenerateRequest&,
                             FakeWorker::Writer*) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining");
  }

  // Draws happen while a request is tokenised: one that `blocks_draws_` keeps a tokenizer thread.
  uint64_t Draw() {
    MutexLock lock(&mutex_);
    ++num_draws_;
    drawn_.NotifyAll();
    drawn_.WaitUntil(&mutex_, std::chrono::steady_clock::now() + kPatience,
                     [this] { return !blocks_draws_; });
    return num_draws_;
  }
  void BlockDraws(bool blocks) {
    MutexLock lock(&mutex_);
    blocks_draws_ = blocks;
    drawn_.NotifyAll();
  }
  uint64_t num_draws() {
    MutexLock lock(&mutex_);
    return num_draws_;
  }
  int num_ended(absl::StatusCode code) {
    MutexLock lock(&mutex_);
    return num_ended_[code];
  }

  Mutex mutex_;
  CondVar drawn_;
  uint64_t num_draws_ SKV_GUARDED_BY(mutex_) = 0;
  bool blocks_draws_ SKV_GUARDED_BY(mutex_) = false;
  std::map<absl::StatusCode, int> num_ended_ SKV_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<FakeWorker>> workers_;
  std::unique_ptr<Membership> membership_;
  RouterOptions router_options_{.migration_wait = {}};  // of StartCluster
  std::unique_ptr<Router> router_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<pb::Generation::Stub> generation_;
};

}  // namespace skv::router
