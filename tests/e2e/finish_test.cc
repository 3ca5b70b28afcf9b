// What a client learns at the end of an answer, through real workers and a real router: what ended
// it, and how long it took.

#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

class FinishTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto cluster = Cluster::Start({.tensor_parallel_size = 1});
    ASSERT_OK(cluster);
    cluster_ = *std::move(cluster);
  }
  static void TearDownTestSuite() { cluster_.reset(); }

  static std::vector<v1::GenerateEvent> Generate(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const auto stub = v1::Generation::NewStub(cluster_->channel());
    const auto reader = stub->Generate(&context, request);
    std::vector<v1::GenerateEvent> events;
    v1::GenerateEvent event;
    while (reader->Read(&event)) events.push_back(event);
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return events;
  }

  static void ExpectTimings(const v1::GenerateEvent& last) {
    const v1::Timings& timings = last.timings();
    EXPECT_GT(timings.queue_ms(), 0);
    EXPECT_GT(timings.prefill_ms(), 0);
    EXPECT_GT(timings.decode_ms(), 0);
    EXPECT_GE(timings.ttft_ms(), timings.queue_ms() + timings.prefill_ms());
    EXPECT_GE(timings.total_ms() + 1e-6, timings.ttft_ms() + timings.decode_ms());
  }

  static std::unique_ptr<Cluster> cluster_;
};

std::unique_ptr<Cluster> FinishTest::cluster_;

TEST_F(FinishTest, AnAnswerOfFullLengthHasTimings) {
  const auto events = Generate(TextRequest("Hello", 32));
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back().finish().reason(), v1::LENGTH);
  EXPECT_FALSE(events.back().finish().has_stop_token_id());
  ExpectTimings(events.back());
}

TEST_F(FinishTest, AStopStringIsNamedAndHasTimings) {
  v1::GenerateRequest request = TextRequest("Hello", 64);
  std::string text;
  for (const v1::GenerateEvent& event : Generate(request)) {
    const bool is_new = !event.text().empty() && text.find(event.text()) == std::string::npos;
    if (!text.empty() && is_new) {
      request.add_stop(event.text());
      break;
    }
    text += event.text();
  }
  ASSERT_EQ(request.stop_size(), 1);
  const auto events = Generate(request);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back().finish().reason(), v1::STOP);
  EXPECT_EQ(events.back().finish().stop_string(), request.stop(0));
  EXPECT_FALSE(events.back().finish().has_stop_token_id());
  ExpectTimings(events.back());
}

TEST_F(FinishTest, AStopTokenIsNamed) {
  v1::GenerateRequest request = TextRequest("Hello", 32);
  const auto full = Generate(request);
  ASSERT_GT(full.size(), 4u);
  ASSERT_EQ(full[4].tokens_size(), 1);
  const int32_t stop = full[4].tokens(0).id();
  request.add_stop_token_ids(stop);
  const auto events = Generate(request);
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(events.back().finish().reason(), v1::STOP);
  ASSERT_TRUE(events.back().finish().has_stop_token_id());
  EXPECT_EQ(events.back().finish().stop_token_id(), stop);
  EXPECT_FALSE(events.back().finish().has_stop_string());
}

TEST_F(FinishTest, TheModelsEndTokenIsNamed) {
  v1::GenerateRequest request = TextRequest("Hello", 32);
  request.set_ignore_eos(false);
  // Makes it the most likely token at once.
  (*request.mutable_logit_bias())[loader::kTinyImEndId] = 100;
  const auto events = Generate(request);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back().finish().reason(), v1::STOP);
  EXPECT_EQ(events.back().finish().stop_token_id(), loader::kTinyImEndId);
}

}  // namespace
}  // namespace skv::e2e
