// `skv generate`: against a router that reports, fails or hangs, and in its own process.

#include <chrono>
#include <thread>

#include "common/mutex.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

using ::testing::HasSubstr;

// Plays the prompts "answer", "fail" and "hang".
class ScriptedRouter : public v1::Generation::Service {
 public:
  ScriptedRouter() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~ScriptedRouter() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
  v1::GenerateRequest last_request() {
    MutexLock lock(&mutex_);
    return last_request_;
  }

 private:
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateEvent>* writer) override {
    {
      MutexLock lock(&mutex_);
      last_request_ = *request;
    }
    v1::GenerateEvent event;
    event.set_text("some text");
    writer->Write(event);
    if (request->text() == "hang") {
      while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return grpc::Status::CANCELLED;
    }
    const bool fails = request->text() == "fail";
    event.mutable_finish()->set_reason(fails ? v1::ERROR : v1::LENGTH);
    if (fails) event.mutable_finish()->set_message("logits are not finite");
    v1::KvReport* const report = event.mutable_kv_report();
    *report->mutable_policy() = request->kv_policy();
    report->set_fingerprint("f");
    report->set_generated_positions(19);
    report->set_attended_tokens(1023.6);
    report->set_visible_tokens(4290);
    report->set_choosing_tokens(429.2);
    report->set_read_share((1023.6 + 429.2) / 4290);
    if (request->has_min_recall()) {
      report->mutable_recall()->set_min_recall(request->min_recall());
      report->mutable_recall()->set_checked(1710);
      report->mutable_recall()->set_widened(20);
      report->mutable_recall()->set_full(3);
    }
    event.mutable_usage()->set_prompt_tokens(4290);
    event.mutable_usage()->set_cached_tokens(request->has_cache_salt() ? 4096 : 0);
    event.mutable_usage()->set_completion_tokens(20);
    writer->Write(event);
    return grpc::Status::OK;
  }

  int port_ = 0;
  Mutex mutex_;
  v1::GenerateRequest last_request_ SKV_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

TEST(GenerateCommandTest, ExitCodeAndMessageTellHowTheAnswerEnded) {
  ScriptedRouter router;
  const struct {
    const char* prompt;
    const char* timeout_secs;
    int exit_code;
    const char* output;
  } kCases[] = {{"answer", "100", 0, "(length)"},
                {"fail", "100", 1, "logits are not finite"},
                {"hang", "1", 3, "skv: Deadline"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.prompt);
    Program generate("skv", {"generate", "--endpoint", router.endpoint(), "--timeout-secs",
                             c.timeout_secs, "--raw", c.prompt});
    const std::optional<ExitState> end = generate.child().Wait(kPatience);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->code, c.exit_code);
    EXPECT_THAT(generate.Output(), HasSubstr(c.output));
  }
}

// What `skv generate` with `arguments` printed; it must end with `exit_code`.
std::string RunGenerate(std::vector<std::string> arguments, int exit_code) {
  arguments.insert(arguments.begin(), "generate");
  Program generate("skv", arguments);
  const std::optional<ExitState> end = generate.child().Wait(kPatience);
  EXPECT_TRUE(end.has_value());
  if (end.has_value()) {
    EXPECT_EQ(end->code, exit_code) << generate.Output();
  }
  return generate.Output();
}

TEST(GenerateCommandTest, TheKvPolicyReachesTheRouterAndItsReportIsShown) {
  ScriptedRouter router;
  std::vector<std::string> arguments = {"--endpoint",
                                        router.endpoint(),
                                        "--raw",
                                        "answer",
                                        "--kv-policy",
                                        "sentencekv",
                                        "--max-capacity-prompts",
                                        "1024",
                                        "--semantic-factor",
                                        "2.5"};
  EXPECT_THAT(RunGenerate(arguments, 0),
              HasSubstr("; sentencekv read 1024 of 4290 tokens a step and as much as 429 to choose "
                        "them (34 %)]"));
  arguments.push_back("--json");
  EXPECT_THAT(RunGenerate(arguments, 0),
              HasSubstr(R"("kv":{"policy":"sentencekv","max_capacity_prompts":1024,)"
                        R"("semantic_factor":2.5,"fingerprint":"f","generated_positions":19,)"));
  arguments.insert(arguments.end(), {"--min-recall", "0.95"});
  EXPECT_THAT(RunGenerate(arguments, 0),
              HasSubstr(R"("recall":{"min_recall":0.95,"checked":1710,"widened":20,"full":3})"));
  std::erase(arguments, "--json");
  EXPECT_THAT(
      RunGenerate(arguments, 0),
      HasSubstr("; 20 of 1710 selections held less than 0.95 and were widened, 3 of them to "
                "all tokens]"));
}

TEST(GenerateCommandTest, TheCacheSaltReachesTheRouterAndCachedTokensAreShown) {
  ScriptedRouter router;
  std::vector<std::string> arguments = {"--endpoint", router.endpoint(), "--raw", "answer"};
  EXPECT_THAT(RunGenerate(arguments, 0), HasSubstr("[4290 prompt tokens, 20 generated (length)"));
  EXPECT_FALSE(router.last_request().has_cache_salt());
  arguments.insert(arguments.end(), {"--cache-salt", "tenant 7"});
  EXPECT_THAT(RunGenerate(arguments, 0),
              HasSubstr("[4290 prompt tokens (4096 cached), 20 generated (length)"));
  EXPECT_EQ(router.last_request().cache_salt(), "tenant 7");
  arguments.push_back("--json");
  EXPECT_THAT(RunGenerate(arguments, 0),
              HasSubstr(R"("prompt_tokens":4290,"cached_tokens":4096,"completion_tokens":20)"));
}

TEST(GenerateCommandTest, AnEngineInThisProcessTakesAndReportsTheKvPolicy) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  const auto generate = [&](std::vector<std::string> arguments, int exit_code) {
    arguments.insert(arguments.end(),
                     {"--model", model.path(), "--raw", "--max-tokens", "3", "Hello"});
    return RunGenerate(arguments, exit_code);
  };
  EXPECT_THAT(generate({"--json"}, 0),
              HasSubstr(R"("kv":{"policy":"full","fingerprint":"full","generated_positions":2,)"));
  EXPECT_THAT(generate({"--json", "--kv-policy", "sentencekv", "--max-capacity-prompts", "64"}, 0),
              HasSubstr(R"("kv":{"policy":"sentencekv","max_capacity_prompts":64,)"));
  EXPECT_THAT(generate({"--json", "--kv-policy", "sentencekv", "--min-recall", "0.9"}, 0),
              HasSubstr(R"("recall":{"min_recall":0.9,"checked":8,"widened":0,"full":0})"));
  EXPECT_THAT(generate({"--min-recall", "0"}, 2), HasSubstr("min-recall"));
  EXPECT_THAT(generate({"--max-capacity-prompts", "64"}, 2),
              HasSubstr("kv_policy.max_capacity_prompts: no effect with policy \"full\""));
  EXPECT_THAT(generate({"--kv-policy", "snapkv", "--semantic-factor", "2"}, 2),
              HasSubstr("kv_policy.semantic_factor: no effect with policy \"snapkv\""));
  EXPECT_THAT(generate({"--json", "--kv-policy", "snapkv"}, 0),
              HasSubstr(R"("kv":{"policy":"snapkv","max_capacity_prompts":1024,"fingerprint":)"));
  EXPECT_THAT(generate({"--kv-policy", "sentencekv", "--semantic-factor", "0.5"}, 2),
              HasSubstr("semantic_factor: 0.5, expected 0 (no filter)"));
}

}  // namespace
}  // namespace skv::e2e
