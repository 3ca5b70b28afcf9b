#include "router/grpc/server.h"

#include <functional>
#include <limits>
#include <map>
#include <thread>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "router/grpc/group_conversions.h"
#include "router/grpc/grpc_group_client.h"
#include "router/testing/fake_worker.h"
#include "skv/v1/generation.grpc.pb.h"
#include "text/testing/tiny_spec.h"

namespace skv::router {
namespace {

namespace pb = ::skv::v1;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

// Long enough for the slowest sanitizer; nothing waits for it when all is well.
constexpr auto kPatience = seconds(60);

bool Eventually(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

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

// Workers, a router and a client, connected by real sockets.
class ServerTest : public testing::Test {
 protected:
  void StartCluster(std::vector<FakeWorker::Script> scripts, GrpcServerOptions options = {}) {
    std::vector<std::string> addresses;
    for (FakeWorker::Script& script : scripts) {
      workers_.push_back(std::make_unique<FakeWorker>(std::move(script)));
      addresses.push_back(workers_.back()->address());
    }
    membership_ =
        std::make_unique<Membership>(MembershipOptions{.probe_interval = milliseconds(100),
                                                       .probe_timeout = seconds(10),
                                                       .stall_timeout = kPatience},
                                     MakeStaticWorkerSource(addresses).value(), MakeGrpcGroupClient,
                                     FindPolicy("round_robin").value(), &RealClock());
    membership_->Start();
    router_ = std::make_unique<Router>(
        RouterOptions{}, membership_.get(), &RealClock(), [this] { return Draw(); },
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
  std::unique_ptr<Router> router_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<pb::Generation::Stub> generation_;
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
      {"cache_salt", [](auto* r) { r->set_cache_salt("s"); }},
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
    report->set_visible_tokens(40);
    report->set_read_share(0.25);
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
    expected.set_visible_tokens(40);
    expected.set_read_share(0.25);
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

// More than the transport takes for a client that does not read, less than the buffer.
grpc::Status AnswerALot(grpc::ServerContext*, const worker_pb::GenerateRequest&,
                        FakeWorker::Writer* writer) {
  for (int i = 0; i < 100; ++i) FakeWorker::Send(writer, std::string(2000, 'x'));
  FakeWorker::SendFinish(writer, worker_pb::STOP);
  return grpc::Status::OK;
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

TEST_F(ServerTest, HealthFollowsTheWorkers) {
  StartCluster({Answer});
  EXPECT_EQ(HealthStatus(), grpc::health::v1::HealthCheckResponse::SERVING);
  workers_[0]->Kill();
  EXPECT_TRUE(Eventually(
      [&] { return HealthStatus() == grpc::health::v1::HealthCheckResponse::NOT_SERVING; }));
}

TEST(GroupConversionsTest, AFinishThatNobodyAskedForIsAnError) {
  const std::pair<worker_pb::FinishReason, const char*> kCases[] = {
      {worker_pb::CANCELLED, "cancelled"},
      {worker_pb::FINISH_REASON_UNSPECIFIED, "reason 0"},
      {static_cast<worker_pb::FinishReason>(77), "reason 77"}};
  for (const auto& [reason, message] : kCases) {
    worker_pb::GenerateEvent event;
    event.mutable_finish()->set_reason(reason);
    const GroupEvent result = FromProto(std::move(event));
    EXPECT_EQ(result.finish->reason, FinishReason::kError);
    EXPECT_THAT(result.finish->message, HasSubstr(message));
  }
}

TEST(GroupConversionsTest, AHostileLoadReportIsClampedToWhatCanBeAdded) {
  worker_pb::LoadReport report;
  report.set_queued_tokens(std::numeric_limits<int64_t>::max());
  report.set_running_tokens(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(FromProto(report).unfinished_tokens, int64_t{2} << 40);
  report.set_queued_tokens(std::numeric_limits<int64_t>::min());
  report.set_running_tokens(7);
  EXPECT_EQ(FromProto(report).unfinished_tokens, 7);
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

TEST_F(ServerTest, APortInUseIsNamed) {
  StartCluster({Answer});
  EXPECT_THAT(GrpcServer::Start({.port = server_->port()}, router_.get(), &RealClock()).status(),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr(std::to_string(server_->port())), HasSubstr("--port"))));
}

}  // namespace
}  // namespace skv::router
