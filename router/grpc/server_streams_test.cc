#include <atomic>
#include <thread>

#include "common/testing/eventually.h"
#include "gmock/gmock.h"
#include "router/grpc/testing/server_fixture.h"

namespace skv::router {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

TEST_F(ServerTest, ARefusingGroupIsReplacedBeforeTheFirstToken) {
  StartCluster({Refuse, Answer});
  for (int i = 0; i < 4; ++i) EXPECT_OK(Generate(MakeRequest()));
  EXPECT_EQ(workers_[1]->num_calls(), 4);
}

TEST_F(ServerTest, AWorkerKilledMidStreamIsUnavailable) {
  StartCluster({StartAndHang});
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, MakeRequest());
  pb::GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.text(), "x");
  workers_[0]->Kill();
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_THAT(ToAbslStatus(reader->Finish()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr(workers_[0]->address())));
  EXPECT_TRUE(Eventually([&] { return membership_->snapshot()->num_healthy_groups() == 0; }));
  EXPECT_THAT(Generate(MakeRequest()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no healthy worker group")));
}

TEST_F(ServerTest, CancellationAndDeadlineReachTheWorker) {
  StartCluster({StartAndHang});
  for (const bool by_deadline : {false, true}) {
    SCOPED_TRACE(by_deadline);
    grpc::ClientContext context;
    if (by_deadline) context.set_deadline(std::chrono::system_clock::now() + milliseconds(200));
    const auto reader = generation_->Generate(&context, MakeRequest());
    pb::GenerateEvent event;
    if (!by_deadline) {
      ASSERT_TRUE(reader->Read(&event));
      context.TryCancel();
    }
    while (reader->Read(&event)) {
    }
    EXPECT_EQ(ToAbslStatus(reader->Finish()).code(),
              by_deadline ? absl::StatusCode::kDeadlineExceeded : absl::StatusCode::kCancelled);
    EXPECT_TRUE(Eventually([&] { return workers_[0]->num_open() == 0; }));
    EXPECT_TRUE(Eventually([&] { return router_->num_in_flight() == 0; }));
  }
}

TEST_F(ServerTest, ManyStreamsHalfOfThemCancelledLeaveNothingBehind) {
  StartCluster({[](grpc::ServerContext* context, const worker_pb::GenerateRequest& request,
                   FakeWorker::Writer* writer) {
    return request.max_tokens() == 1 ? StartAndHang(context, request, writer)
                                     : Answer(context, request, writer);
  }});
  std::atomic<int> num_right = 0;
  std::vector<std::thread> clients;
  clients.reserve(32);
  for (int i = 0; i < 32; ++i) {
    clients.emplace_back([&, i] {
      pb::GenerateRequest request = MakeRequest();
      request.set_max_tokens(i % 2 == 0 ? 1 : 10);
      if (i % 2 == 1) {
        std::string text;
        num_right += Generate(request, &text).ok() && text == "an answer";
        return;
      }
      grpc::ClientContext context;
      const auto reader = generation_->Generate(&context, request);
      pb::GenerateEvent event;
      reader->Read(&event);
      context.TryCancel();
      reader->Finish();
      ++num_right;
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(num_right, 32);
  EXPECT_TRUE(Eventually([&] { return router_->num_in_flight() == 0; }));
  EXPECT_TRUE(Eventually([&] { return workers_[0]->num_open() == 0; }));
}

TEST_F(ServerTest, AClientThatDoesNotReadIsCancelled) {
  StartCluster(
      {[](grpc::ServerContext*, const worker_pb::GenerateRequest&, FakeWorker::Writer* writer) {
        while (FakeWorker::Send(writer, std::string(500, 'x'))) {
        }
        return grpc::Status::CANCELLED;
      }},
      {.max_client_buffer_bytes = 64 << 10});
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, MakeRequest());
  EXPECT_TRUE(Eventually([&] { return workers_[0]->num_calls() == 1; }));
  EXPECT_TRUE(Eventually([&] { return workers_[0]->num_open() == 0; }));
  pb::GenerateEvent event;
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(ToAbslStatus(reader->Finish()).code(), absl::StatusCode::kCancelled);
}

TEST_F(ServerTest, AFinishedAnswerThatNobodyReadsIsCancelled) {
  StartCluster({AnswerALot},
               {.max_client_buffer_bytes = 64 << 20, .delivery_timeout = milliseconds(500)});
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, MakeRequest());
  EXPECT_TRUE(Eventually([&] { return num_ended(absl::StatusCode::kOk) == 1; }));
  EXPECT_TRUE(Eventually([&] { return router_->num_in_flight() == 0; }));
  pb::GenerateEvent event;
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(ToAbslStatus(reader->Finish()).code(), absl::StatusCode::kCancelled);
}

TEST_F(ServerTest, AnEventLargerThanTheBufferReachesAClientThatReads) {
  StartCluster(
      {[](grpc::ServerContext*, const worker_pb::GenerateRequest&, FakeWorker::Writer* writer) {
        FakeWorker::Send(writer, std::string(2000, 'x'));
        FakeWorker::SendFinish(writer, worker_pb::STOP);
        return grpc::Status::OK;
      }},
      {.max_client_buffer_bytes = 1024});
  std::string text;
  EXPECT_OK(Generate(MakeRequest(), &text));
  EXPECT_EQ(text.size(), 2000u);
}

TEST_F(ServerTest, ACallWhoseDeadlinePassedInTheQueueIsNotWorkedOn) {
  StartCluster({Answer}, {.num_tokenizer_threads = 1});
  BlockDraws(true);
  std::thread first([&] { EXPECT_OK(Generate(MakeRequest())); });
  EXPECT_TRUE(Eventually([&] { return num_draws() == 1; }));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(1));
  const auto reader = generation_->Generate(&context, MakeRequest());
  EXPECT_TRUE(Eventually([&] { return router_->num_in_flight() == 2; }));
  // The call has arrived: its deadline on the server is a second away at most, but for rounding.
  const auto late = std::chrono::system_clock::now() + milliseconds(1200);
  pb::GenerateEvent event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(ToAbslStatus(reader->Finish()).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(Eventually([&] { return std::chrono::system_clock::now() > late; }));
  BlockDraws(false);
  first.join();
  EXPECT_TRUE(Eventually([&] { return router_->num_in_flight() == 0; }));
  EXPECT_EQ(num_draws(), 2u);  // both of the first: seed and id
  EXPECT_EQ(workers_[0]->num_calls(), 1);
  EXPECT_EQ(num_ended(absl::StatusCode::kOk), 1);
}

TEST_F(ServerTest, BytesThatWaitToBeReadAreBounded) {
  StartCluster({Answer}, {.max_waiting_bytes = 100'000, .num_tokenizer_threads = 1});
  BlockDraws(true);
  std::thread first([&] { EXPECT_OK(Generate(MakeRequest())); });
  EXPECT_TRUE(Eventually([&] { return num_draws() == 1; }));
  pb::GenerateRequest large = MakeRequest();
  large.set_text(std::string(200'000, 'x'));
  // One request may be larger than what may wait, so that none is too large for an idle router.
  std::thread second([&] {
    EXPECT_THAT(Generate(large), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("text")));
  });
  EXPECT_TRUE(Eventually([&] { return router_->num_in_flight() == 2; }));
  EXPECT_THAT(Generate(MakeRequest()),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("at most 100000 may wait")));
  EXPECT_EQ(num_ended(absl::StatusCode::kResourceExhausted), 1);
  BlockDraws(false);
  first.join();
  second.join();
  EXPECT_OK(Generate(MakeRequest()));
}

}  // namespace
}  // namespace skv::router
