#include <functional>

#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "router/grpc/testing/server_fixture.h"

namespace skv::router {
namespace {

using testing::HasSubstr;

TEST_F(ServerTest, KvPoliciesAreCheckedByNameAndMissingParametersAreTheWorkersDefaults) {
  worker_pb::KvPolicy got;
  StartCluster({[&got](grpc::ServerContext* context, const worker_pb::GenerateRequest& request,
                       FakeWorker::Writer* writer) {
    got = request.kv_policy();
    return Answer(context, request, writer);
  }});
  pb::GenerateRequest request = MakeRequest();
  EXPECT_OK(Generate(request));
  EXPECT_EQ(got.name(), "full");
  request.mutable_kv_policy()->set_name("sentencekv");
  EXPECT_OK(Generate(request));
  EXPECT_EQ(got.name(), "sentencekv");
  EXPECT_EQ(got.max_capacity_prompts(), 1024);
  EXPECT_EQ(got.semantic_factor(), 0);

  const std::pair<const char*, std::function<void(pb::KvPolicy*)>> kCases[] = {
      {"kv_policy.name: got \"other\", expected one that the workers allow: full, sentencekv",
       [](auto* p) { p->set_name("other"); }},
      {"kv_policy.max_capacity_prompts: got 15, expected 16 to 16777216",
       [](auto* p) { p->set_max_capacity_prompts(15); }},
      {"kv_policy.semantic_factor: got 0.5, expected 0 (no filter) or 1 to 1000000",
       [](auto* p) { p->set_semantic_factor(0.5); }},
      {"kv_policy.semantic_factor: got 0, expected none", [](auto* p) {
         p->set_name("full");
         p->set_semantic_factor(0);
       }}};
  for (const auto& [message, set] : kCases) {
    SCOPED_TRACE(message);
    pb::GenerateRequest bad = request;
    set(bad.mutable_kv_policy());
    EXPECT_THAT(Generate(bad), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }
}

TEST_F(ServerTest, TheWorkersExplanationsReachTheClientWithTheTextOfThePrompt) {
  int got_top = 0;
  StartCluster({[&got_top](grpc::ServerContext*, const worker_pb::GenerateRequest& request,
                           FakeWorker::Writer* writer) {
    got_top = request.explain_top();
    worker_pb::GenerateEvent event;
    event.add_tokens()->set_id('a');
    event.mutable_finish()->set_reason(worker_pb::LENGTH);
    if (request.explain_top() > 0) {
      worker_pb::Explanation* const explanation = event.add_explanations();
      explanation->set_token_end(1);
      worker_pb::SentenceRead* const read = explanation->add_reads();
      read->set_token_begin(1);
      read->set_token_end(4);
      read->set_score(0.5);
      read->set_heads_share(0.25);
    }
    writer->Write(event);
    return grpc::Status::OK;
  }});
  pb::GenerateEvent last;
  std::string text;
  pb::GenerateRequest request = MakeRequest();
  EXPECT_OK(Generate(request, &text, &last));
  EXPECT_EQ(got_top, 0);
  EXPECT_EQ(last.explanations_size(), 0);
  request.set_explain(true);
  EXPECT_OK(Generate(request, &text, &last));
  EXPECT_EQ(got_top, 5);
  pb::Explanation expected;
  expected.set_token_end(1);
  pb::SentenceRead* const read = expected.add_reads();
  read->set_token_begin(1);
  read->set_token_end(4);
  read->set_text_begin(1);
  read->set_text_end(4);
  read->set_text("ell");
  read->set_score(0.5);
  read->set_heads_share(0.25);
  ASSERT_EQ(last.explanations_size(), 1);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(last.explanations(0), expected))
      << last.explanations(0).DebugString();
  request.set_explain_top(33);
  EXPECT_THAT(Generate(request), StatusIs(absl::StatusCode::kInvalidArgument,
                                          HasSubstr("explain_top: got 33, expected 1 to 32")));
}

TEST_F(ServerTest, TheWorkersKvReportReachesTheClientWithTheFinish) {
  StartCluster({[](grpc::ServerContext*, const worker_pb::GenerateRequest& request,
                   FakeWorker::Writer* writer) {
    worker_pb::GenerateEvent event;
    event.add_tokens()->set_id('x');
    event.mutable_finish()->set_reason(worker_pb::LENGTH);
    worker_pb::KvReport* const report = event.mutable_kv_report();
    *report->mutable_policy() = request.kv_policy();
    report->set_fingerprint("f");
    report->set_generated_positions(4);
    report->set_attended_tokens(10);
    report->set_choosing_tokens(6);
    report->set_visible_tokens(40);
    report->set_read_share(0.4);
    if (request.min_recall() > 0) {
      report->mutable_recall()->set_min_recall(request.min_recall());
      report->mutable_recall()->set_checked(100);
      report->mutable_recall()->set_widened(10);
      report->mutable_recall()->set_full(1);
    }
    writer->Write(event);
    return grpc::Status::OK;
  }});
  pb::GenerateRequest request = MakeRequest();
  for (const std::string name : {"full", "sentencekv"}) {
    SCOPED_TRACE(name);
    request.mutable_kv_policy()->set_name(name);
    std::string text;
    pb::GenerateEvent last;
    ASSERT_OK(Generate(request, &text, &last));
    pb::KvReport expected;
    expected.mutable_policy()->set_name(name);
    if (name == "sentencekv") {
      expected.mutable_policy()->set_max_capacity_prompts(1024);
      expected.mutable_policy()->set_semantic_factor(0);
    }
    expected.set_fingerprint("f");
    expected.set_generated_positions(4);
    expected.set_attended_tokens(10);
    expected.set_choosing_tokens(6);
    expected.set_visible_tokens(40);
    expected.set_read_share(0.4);
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(last.kv_report(), expected))
        << last.kv_report().DebugString();

    pb::GenerateRequest bound = request;
    bound.set_min_recall(0.75);
    ASSERT_OK(Generate(bound, &text, &last));
    expected.mutable_recall()->set_min_recall(0.75);
    expected.mutable_recall()->set_checked(100);
    expected.mutable_recall()->set_widened(10);
    expected.mutable_recall()->set_full(1);
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(last.kv_report(), expected))
        << last.kv_report().DebugString();
  }
}

}  // namespace
}  // namespace skv::router
