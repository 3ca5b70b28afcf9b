// `skv generate --endpoint` against a router that fails or hangs.

#include <chrono>
#include <thread>

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

 private:
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateEvent>* writer) override {
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
    writer->Write(event);
    return grpc::Status::OK;
  }

  int port_ = 0;
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

}  // namespace
}  // namespace skv::e2e
