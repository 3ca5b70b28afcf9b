#include <atomic>
#include <thread>

#include "common/testing/eventually.h"
#include "router/grpc/testing/server_fixture.h"

namespace skv::router {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(ServerTest, DrainWaitsForAClientThatReadsLate) {
  StartCluster({AnswerALot}, {.max_client_buffer_bytes = 64 << 20});
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, MakeRequest());
  EXPECT_TRUE(Eventually([&] { return num_ended(absl::StatusCode::kOk) == 1; }));
  std::atomic<bool> drained{false};
  std::thread drainer([&] { drained = server_->Drain(kPatience); });
  EXPECT_TRUE(Eventually(
      [&] { return HealthStatus() == grpc::health::v1::HealthCheckResponse::NOT_SERVING; }));
  EXPECT_FALSE(router_->WaitUntilIdle(milliseconds(0)));
  pb::GenerateEvent event;
  size_t num_bytes = 0;
  while (reader->Read(&event)) num_bytes += event.text().size();
  EXPECT_OK(ToAbslStatus(reader->Finish()));
  EXPECT_EQ(num_bytes, 200'000u);
  drainer.join();
  EXPECT_TRUE(drained);
}

TEST_F(ServerTest, DrainDoesNotWaitForAnIdleConnection) {
  StartCluster({Answer});
  EXPECT_OK(Generate(MakeRequest()));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(server_->Drain(kPatience));
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(4));
}

TEST_F(ServerTest, DrainTurnsHealthFirstAndLetsStreamsEnd) {
  std::atomic<bool> go_on{false};
  StartCluster({[&](grpc::ServerContext* context, const worker_pb::GenerateRequest& request,
                    FakeWorker::Writer* writer) {
    if (request.max_tokens() == 1) {
      FakeWorker::Send(writer, "x");
      Eventually([&] { return go_on.load(); });
    }
    return Answer(context, request, writer);
  }});
  grpc::ClientContext context;
  pb::GenerateRequest long_request = MakeRequest();
  long_request.set_max_tokens(1);
  const auto reader = generation_->Generate(&context, long_request);
  pb::GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  bool drained = false;
  std::thread drainer([&] { drained = server_->Drain(kPatience); });
  EXPECT_TRUE(Eventually(
      [&] { return HealthStatus() == grpc::health::v1::HealthCheckResponse::NOT_SERVING; }));
  EXPECT_TRUE(Eventually([&] {
    const absl::Status refused = Generate(MakeRequest());
    return absl::IsUnavailable(refused) &&
           refused.message().find("draining") != absl::string_view::npos;
  }));
  go_on = true;
  std::string text = event.text();
  while (reader->Read(&event)) text += event.text();
  EXPECT_OK(ToAbslStatus(reader->Finish()));
  EXPECT_EQ(text, "xan answer");
  drainer.join();
  EXPECT_TRUE(drained);
}

TEST_F(ServerTest, DrainEndsInTimeThoughAStreamDoesNot) {
  StartCluster({StartAndHang});
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, MakeRequest());
  pb::GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_FALSE(server_->Drain(milliseconds(50)));
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_FALSE(reader->Finish().ok());
  EXPECT_TRUE(Eventually([&] { return workers_[0]->num_open() == 0; }));
}

TEST_F(ServerTest, ADrainThatRunsOutOfTimeEndsAStreamThatWaitsForAGroup) {
  router_options_.migration_wait = std::chrono::minutes(10);
  StartCluster({StartAndHang});
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, MakeRequest());
  pb::GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  workers_[0]->Kill();
  EXPECT_TRUE(Eventually([&] { return membership_->num_waiting() == 1; }));
  EXPECT_FALSE(server_->Drain(std::chrono::milliseconds(100)));
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_FALSE(reader->Finish().ok());
  EXPECT_TRUE(Eventually([&] { return membership_->num_waiting() == 0; }));
}

}  // namespace
}  // namespace skv::router
