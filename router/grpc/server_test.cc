#include <functional>

#include "common/testing/eventually.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "grpcpp/generic/generic_stub.h"
#include "router/grpc/testing/server_fixture.h"
#include "text/testing/tiny_spec.h"

namespace skv::router {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Takes a message that has been serialised already, well or badly.
class RawGeneration {
 public:
  explicit RawGeneration(const std::shared_ptr<grpc::Channel>& channel) : stub_(channel) {}

  absl::Status Send(const std::string& bytes) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    grpc::Status status;
    const auto call =
        stub_.PrepareUnaryCall(&context, "/skv.v1.Generation/Generate", request, &queue);
    call->StartCall();
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ToAbslStatus(status);
  }

 private:
  grpc::GenericStub stub_;
};

TEST_F(ServerTest, AnswersThroughAWorkerAndNamesItsModel) {
  StartCluster({Answer});
  std::string text;
  pb::GenerateEvent last;
  ASSERT_OK(Generate(MakeRequest(), &text, &last));
  EXPECT_EQ(text, "an answer");
  EXPECT_EQ(last.finish().reason(), pb::STOP);
  EXPECT_EQ(last.usage().prompt_tokens(), 5);
  EXPECT_EQ(last.usage().completion_tokens(), 9);
  EXPECT_EQ(HealthStatus(), grpc::health::v1::HealthCheckResponse::SERVING);

  const auto models = pb::Models::NewStub(channel_);
  grpc::ClientContext list_context, get_context, miss_context;
  pb::ListModelsResponse list;
  ASSERT_TRUE(models->ListModels(&list_context, {}, &list).ok());
  ASSERT_EQ(list.models_size(), 1);
  EXPECT_EQ(list.models(0).fingerprint(), "f1");
  pb::GetModelRequest get;
  get.set_model("tiny");
  pb::Model model;
  ASSERT_TRUE(models->GetModel(&get_context, get, &model).ok());
  EXPECT_EQ(model.context_length(), 1000);
  get.set_model("huge");
  EXPECT_THAT(ToAbslStatus(models->GetModel(&miss_context, get, &model)),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("\"huge\"")));
}

TEST_F(ServerTest, UsageTellsTheTokensThatTheWorkerTookFromItsCache) {
  StartCluster({[](grpc::ServerContext* context, const worker_pb::GenerateRequest& request,
                   FakeWorker::Writer* writer) {
    worker_pb::GenerateEvent first;
    first.add_tokens()->set_id('x');
    first.set_cached_tokens(4);
    writer->Write(first);
    return Answer(context, request, writer);
  }});
  std::string text;
  pb::GenerateEvent last;
  ASSERT_OK(Generate(MakeRequest(), &text, &last));
  EXPECT_EQ(last.usage().prompt_tokens(), 5);
  EXPECT_EQ(last.usage().cached_tokens(), 4);
}

TEST_F(ServerTest, SpecialTokensInTextReachTheWorkerAsSuchOnlyWhenAskedFor) {
  std::vector<int32_t> got;
  StartCluster({[&got](grpc::ServerContext* context, const worker_pb::GenerateRequest& request,
                       FakeWorker::Writer* writer) {
    got.assign(request.prompt_ids().begin(), request.prompt_ids().end());
    return Answer(context, request, writer);
  }});
  pb::GenerateRequest request = MakeRequest();
  request.set_text("a<|im_end|>");
  ASSERT_OK(Generate(request));
  EXPECT_EQ(got.size(), 11u);
  request.set_parse_special(true);
  ASSERT_OK(Generate(request));
  EXPECT_THAT(got, testing::ElementsAre('a', text::kTinyImEnd));
  request.mutable_token_ids()->add_ids(5);
  EXPECT_THAT(Generate(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("parse_special")));
}

TEST_F(ServerTest, EveryFieldReachesTheWorker) {
  worker_pb::GenerateRequest got;
  StartCluster({[&got](grpc::ServerContext* context, const worker_pb::GenerateRequest& request,
                       FakeWorker::Writer* writer) {
    got = request;
    return Answer(context, request, writer);
  }});
  pb::GenerateRequest request = MakeRequest();
  request.set_temperature(0.5);
  request.set_top_p(0.25);
  request.set_top_k(3);
  request.set_min_p(0.125);
  request.set_repetition_penalty(1.5);
  request.set_presence_penalty(0.75);
  request.set_frequency_penalty(-0.5);
  request.set_seed(42);
  request.add_stop_token_ids(7);
  (*request.mutable_logit_bias())[9] = -1.5;
  request.set_logprobs(true);
  request.set_top_logprobs(2);
  request.set_ignore_eos(true);
  request.set_priority(-3);
  request.set_request_id("mine");
  request.mutable_kv_policy()->set_name("sentencekv");
  request.mutable_kv_policy()->set_max_capacity_prompts(64);
  request.mutable_kv_policy()->set_semantic_factor(2.5);
  request.set_cache_salt("tenant 7");
  std::string text;
  pb::GenerateEvent last;
  ASSERT_OK(Generate(request, &text, &last));
  EXPECT_EQ(last.request_id(), "mine");
  EXPECT_THAT(got.request_id(), testing::StartsWith("skv-"));
  worker_pb::GenerateRequest expected;
  expected.set_request_id(got.request_id());
  for (const char c : std::string("hello")) expected.add_prompt_ids(c);
  worker_pb::SamplingParams* sampling = expected.mutable_sampling();
  sampling->set_temperature(0.5);
  sampling->set_top_p(0.25);
  sampling->set_top_k(3);
  sampling->set_min_p(0.125);
  sampling->set_repetition_penalty(1.5);
  sampling->set_presence_penalty(0.75);
  sampling->set_frequency_penalty(-0.5);
  sampling->add_logit_bias()->set_token_id(9);
  sampling->mutable_logit_bias(0)->set_bias(-1.5);
  sampling->set_logprobs(true);
  sampling->set_top_logprobs(2);
  expected.add_seeds(42);
  expected.set_max_tokens(10);
  expected.add_stop_token_ids(7);
  expected.set_ignore_eos(true);
  expected.set_priority(-3);
  expected.mutable_kv_policy()->set_name("sentencekv");
  expected.mutable_kv_policy()->set_max_capacity_prompts(64);
  expected.mutable_kv_policy()->set_semantic_factor(2.5);
  expected.set_cache_salt("tenant 7");
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(got, expected))
      << got.DebugString();
}

TEST_F(ServerTest, MalformedBytesAreRefusedByNameAndOthersGoOn) {
  StartCluster({Answer});
  RawGeneration raw(channel_);
  const std::string valid = MakeRequest().SerializeAsString();
  const auto nested = [](char field, const std::string& inner) {
    return std::string{static_cast<char>(field << 3 | 2), static_cast<char>(inner.size())} + inner;
  };
  const struct {
    const char* why;
    std::string bytes;
    absl::StatusCode code;
    const char* message;
  } kCases[] = {
      {"text that is not UTF-8", nested(2, "ab\xff"), absl::StatusCode::kInvalidArgument,
       "text: byte 2"},
      {"content that is not UTF-8", nested(3, nested(1, nested(2, "\xc3"))),
       absl::StatusCode::kInvalidArgument, "chat.messages.content: byte 0"},
      {"stop string that is not UTF-8", valid + nested(15, "\x80"),
       absl::StatusCode::kInvalidArgument, "stop: byte 0"},
      {"cut message", valid.substr(0, 4), absl::StatusCode::kInvalidArgument,
       "not a skv.v1.GenerateRequest"},
      {"noise", std::string(100, '\xfe'), absl::StatusCode::kInvalidArgument,
       "not a skv.v1.GenerateRequest"},
      {"nothing", "", absl::StatusCode::kInvalidArgument, "prompt: got none"},
      {"over 16 MiB", std::string((16 << 20) + 1, '\0'), absl::StatusCode::kInvalidArgument,
       "request: got 16777217 bytes, expected at most 16777216"},
      {"100 MB", std::string(100 << 20, 'x'), absl::StatusCode::kResourceExhausted, "larger than"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_THAT(raw.Send(c.bytes), StatusIs(c.code, HasSubstr(c.message)));
  }
  EXPECT_OK(Generate(MakeRequest()));
  EXPECT_EQ(workers_[0]->num_calls(), 1);
  EXPECT_EQ(num_ended(absl::StatusCode::kInvalidArgument), 7);  // the last is the transport's
}

TEST_F(ServerTest, BadPromptsOfManyMegabytesAreRefused) {
  StartCluster({Answer});
  pb::GenerateRequest request;
  request.set_text(std::string(10 << 20, 'x'));
  EXPECT_THAT(Generate(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("text: got 10485760 bytes")));
  request.set_text(std::string(1001, 'x'));
  EXPECT_THAT(Generate(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1001 tokens")));
  EXPECT_EQ(workers_[0]->num_calls(), 0);
}

TEST_F(ServerTest, FieldsThatAreNotServedAreUnimplementedByName) {
  StartCluster({Answer});
  const std::pair<const char*, std::function<void(pb::GenerateRequest*)>> kCases[] = {
      {"kv_policy.num_start_tokens",
       [](auto* r) { r->mutable_kv_policy()->set_num_start_tokens(0); }},
      {"kv_policy.num_recent_tokens",
       [](auto* r) { r->mutable_kv_policy()->set_num_recent_tokens(0); }},
      {"kv_policy.observation_window",
       [](auto* r) { r->mutable_kv_policy()->set_observation_window(0); }},
      {"allow_degraded", [](auto* r) { r->set_allow_degraded(true); }},
      {"adapter", [](auto* r) { r->set_adapter("a"); }}};
  for (const auto& [name, set] : kCases) {
    SCOPED_TRACE(name);
    pb::GenerateRequest request = MakeRequest();
    set(&request);
    EXPECT_THAT(Generate(request), StatusIs(absl::StatusCode::kUnimplemented,
                                            testing::StartsWith(std::string(name) + ":")));
  }
}

TEST_F(ServerTest, HealthFollowsTheWorkers) {
  StartCluster({Answer});
  EXPECT_EQ(HealthStatus(), grpc::health::v1::HealthCheckResponse::SERVING);
  workers_[0]->Kill();
  EXPECT_TRUE(Eventually(
      [&] { return HealthStatus() == grpc::health::v1::HealthCheckResponse::NOT_SERVING; }));
}

TEST_F(ServerTest, APortInUseIsNamed) {
  StartCluster({Answer});
  EXPECT_THAT(GrpcServer::Start({.port = server_->port()}, router_.get(), &RealClock()).status(),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr(std::to_string(server_->port())), HasSubstr("--port"))));
}

}  // namespace
}  // namespace skv::router
