// What the commands of `skv` print for scripts, how they end, and that their examples run.

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/http_get.h"
#include "common/log.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"
#include "tests/e2e/testing/sanitizer_report.h"

namespace skv::e2e {
namespace {

using ::testing::HasSubstr;

struct Ended {
  ExitState state;
  std::string output;  // both streams
};

Ended RunSkv(const std::vector<std::string>& arguments) {
  Program program("skv", arguments);
  const std::optional<ExitState> end = program.child().Wait(kPatience);
  if (!end) ADD_FAILURE() << "still runs: " << absl::StrJoin(arguments, " ");
  return {end.value_or(ExitState{}), program.Output()};
}

std::vector<std::string> KeysOf(const nlohmann::json& json) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

// Only for "Hello", which each of the sources answers.
void ExpectGenerateJson(std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"generate", "--json", "--raw", "--max-tokens", "3"});
  flags.push_back("Hello");
  const Ended ended = RunSkv(flags);
  ASSERT_TRUE(ended.state.ok()) << ended.output;
  const auto json = nlohmann::json::parse(ended.output, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object()) << ended.output;
  EXPECT_THAT(KeysOf(json),
              ::testing::UnorderedElementsAre("text", "finish_reason", "usage", "kv", "ttft_ms",
                                              "decode_ms", "num_migrations"));
  EXPECT_TRUE(json["text"].is_string());
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 4);  // H e ll o
  EXPECT_EQ(json["usage"]["cached_tokens"], 0);
  EXPECT_EQ(json["usage"]["completion_tokens"], 3);
  EXPECT_GT(json["ttft_ms"], 0);
  EXPECT_GT(json["decode_ms"], 0);
}

TEST(CommandLineTest, GenerateJsonIsOneObjectFromARouterAndFromThisProcess) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1}));
  ExpectGenerateJson({"--endpoint", cluster->endpoint()});
  ExpectGenerateJson({"--model", model.path(), "--threads", "1"});
}

TEST(CommandLineTest, TokenizePrintsIdsTheirNumberOrTheirTexts) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  const auto tokenize = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {"tokenize", "--model", model.path()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Ended ended = RunSkv(arguments);
    EXPECT_TRUE(ended.state.ok()) << ended.output;
    return ended.output;
  };
  // The bytes H and i follow each other in the vocabulary as in ASCII.
  const auto ids = nlohmann::json::parse(tokenize({"--json", "Hi!"}));
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_EQ(ids[1].get<int>() - ids[0].get<int>(), 'i' - 'H');
  EXPECT_EQ(tokenize({"--count", "Hi!"}), "3\n");
  EXPECT_EQ(tokenize({"--count", "--json", "Hi!"}), "3\n");
  EXPECT_EQ(tokenize({"Hi!"}), absl::StrCat(ids[0].get<int>(), "\t\"H\"\n", ids[1].get<int>(),
                                            "\t\"i\"\n", ids[2].get<int>(), "\t\"!\"\n"));
  EXPECT_EQ(tokenize({"--json", "--parse-special", "<|im_end|>"}),
            absl::StrCat("[", loader::kTinyImEndId, "]\n"));
}

TEST(CommandLineTest, ClusterUpPrintsWhatAnswersAndSigintEndsItWithZero) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  const int port = FindFreePorts();
  const std::string log_dir = absl::StrCat(::testing::TempDir(), "skv_start_lines_", port);
  Program cluster("skv", {"cluster", "up", "--tp", "2", "--kvstore", "--threads", "1", "--model",
                          model.path(), "--port", absl::StrCat(port), "--log-dir", log_dir,
                          "--kvstore-flag=--arena-bytes=16777216"});
  ASSERT_TRUE(Eventually([&] { return cluster.Output().find("Ctrl-C\n") != std::string::npos; }))
      << cluster.Output();
  const std::string output = cluster.Output();
  EXPECT_THAT(output, HasSubstr(" s: 1 group(s) of 2 rank(s)\n"));
  EXPECT_THAT(output, HasSubstr(absl::StrCat("  gRPC endpoint  127.0.0.1:", port, "\n")));
  EXPECT_THAT(output, HasSubstr(absl::StrCat("  logs in ", log_dir)));
  const std::pair<const char*, int> kProcesses[] = {{"router", port + 1},
                                                    {"group 0 rank 0", port + 130},
                                                    {"group 0 rank 1", port + 131},
                                                    {"kvstore", port + 2}};
  for (const auto& [name, admin_port] : kProcesses) {
    ASSERT_OK_AND_ASSIGN(const std::string version,
                         HttpGet("127.0.0.1", admin_port, "/version", std::chrono::seconds(10)));
    const int pid = nlohmann::json::parse(version)["pid"];
    EXPECT_THAT(output, HasSubstr(absl::StrCat("  ", name, "  pid ", pid,
                                               "  http://127.0.0.1:", admin_port, "/metrics\n")));
  }
  const Ended answer = RunSkv({"generate", "--endpoint", absl::StrCat("127.0.0.1:", port), "--raw",
                               "--max-tokens", "2", "Hello"});
  EXPECT_TRUE(answer.state.ok()) << answer.output;
  cluster.child().Signal(SIGINT);
  const std::optional<ExitState> end = cluster.child().Wait(kPatience);
  ASSERT_TRUE(end.has_value());
  EXPECT_TRUE(end->ok()) << end->ToString() << cluster.Output();
  std::filesystem::remove_all(log_dir);
}

TEST(CommandLineTest, ExitCodesAreThoseOfTheHelp) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  const std::string folder = ::testing::TempDir();
  const std::string damaged = absl::StrCat(folder, "skv_damaged_", getpid(), ".gguf");
  std::ofstream(damaged) << "GGUF";
  const struct {
    std::vector<std::string> arguments;
    int code;
  } kCases[] = {
      {{"--help"}, 0},
      {{"--version"}, 0},
      {{"tokenize", "--help"}, 0},
      {{"tokenize", "--model", damaged, "a"}, 1},
      {{}, 2},
      {{"no-such-command"}, 2},
      {{"generate", "--no-such-flag"}, 2},
      {{"generate", "--max-tokens", "0", "a"}, 2},
      {{"tokenize", "--model", model.path()}, 2},
      {{"generate", "--model", "/no/such/model.gguf", "a"}, 2},
      {{"generate", "--model", model.path(), "--file", "/no/such/file", "a"}, 2},
      {{"cluster", "up", "--model", "/no/such/model.gguf"}, 2},
      {{"model", "fetch", "--verify", "--dir", "/no/such/folder"}, 2},
      {{"model", "fetch", "--verify", "--force"}, 2},
      {{"generate", "--endpoint", "127.0.0.1:1", "a"}, 3},
      {{"bench", "--endpoint", "127.0.0.1:1"}, 3},
  };
  for (const auto& c : kCases) {
    const Ended ended = RunSkv(c.arguments);
    EXPECT_EQ(ended.state.signal, 0);
    EXPECT_EQ(ended.state.code, c.code) << absl::StrJoin(c.arguments, " ") << ": " << ended.output;
  }
  EXPECT_THAT(RunSkv({"--help"}).output, HasSubstr("Exit codes:\n  0  done"));
  std::filesystem::remove(damaged);
}

TEST(CommandLineTest, CtrlCEndsGenerateByItsSignal) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1}));
  Program generate("skv", {"generate", "--endpoint", cluster->endpoint(), "--raw", "--max-tokens",
                           "60000", "Once upon a time"});
  ASSERT_TRUE(Eventually([&] { return !generate.Output().empty(); }));
  generate.child().Signal(SIGINT);
  const std::optional<ExitState> end = generate.child().Wait(kPatience);
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->signal, SIGINT) << end->ToString();
}

// The command lines below "Examples:", each without what explains it.
std::vector<std::string> ExamplesIn(const std::string& help) {
  std::vector<std::string> examples;
  bool inside = false;
  for (const absl::string_view line : absl::StrSplit(help, '\n')) {
    if (line == "Examples:") {
      inside = true;
    } else if (line.empty()) {
      inside = false;
    } else if (inside) {
      const std::string text(line.substr(2));
      examples.push_back(text.substr(0, text.find("  ")));
    }
  }
  return examples;
}

// A folder as a user has it: the model where it is looked for, a document, room for logs.
class ExamplesTest : public ::testing::Test {
 protected:
  ExamplesTest() : model_(TinyModelOptions()) {
    folder_ = absl::StrCat(::testing::TempDir(), "skv_examples_", getpid());
    std::filesystem::create_directories(folder_ + "/models");
    std::filesystem::create_symlink(model_.path(),
                                    folder_ + "/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    std::ofstream(folder_ + "/report.txt") << "Anna wrote this.";
  }
  ~ExamplesTest() override { std::filesystem::remove_all(folder_); }

  // Runs `example` with the ports of this test and, by the environment, little work.
  std::unique_ptr<ScopedChild> StartExample(const std::string& example, const std::string& endpoint,
                                            int port) {
    const std::string line = absl::StrReplaceAll(
        example, {{"localhost:8070", endpoint}, {"--port 9000", absl::StrCat("--port ", port)}});
    auto child = ScopedChild::Start(
        {.args = {"bash", "-c", absl::StrCat("cd ", folder_, "; exec < /dev/null; ", line)},
         .environment = {absl::StrCat("PATH=", BinaryPath(""), ":", std::getenv("PATH")),
                         "SKV_MAX_TOKENS=2", "SKV_THREADS=1", "SKV_VERIFY=true",
                         absl::StrCat("SKV_PORT=", port)},
         .log_path = folder_ + "/output"});
    SKV_CHECK(child.ok()) << child.status().ToString();
    return *std::move(child);
  }

  std::string Output() const { return ReadFile(folder_ + "/output"); }

  const loader::TinyLlamaFile model_;
  std::string folder_;
};

TEST_F(ExamplesTest, EveryExampleOfEveryHelpRuns) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1}));
  std::set<std::string> examples;
  for (const std::vector<std::string>& command : {std::vector<std::string>{},
                                                  {"generate"},
                                                  {"explain"},
                                                  {"tokenize"},
                                                  {"model", "fetch"},
                                                  {"bench"},
                                                  {"cluster", "up"}}) {
    std::vector<std::string> arguments = command;
    arguments.push_back("--help");
    const std::vector<std::string> found = ExamplesIn(RunSkv(arguments).output);
    EXPECT_FALSE(found.empty()) << absl::StrJoin(arguments, " ");
    examples.insert(found.begin(), found.end());
  }
  examples.erase("skv COMMAND --help");
  for (const std::string& example : examples) {
    SCOPED_TRACE(example);
    std::filesystem::remove(folder_ + "/output");
    const auto child = StartExample(example, cluster->endpoint(), FindFreePorts());
    if (example.find("cluster up") != std::string::npos) {
      EXPECT_TRUE(Eventually([&] {
        return Output().find("cluster is ready") != std::string::npos ||
               child->Wait(std::chrono::milliseconds(0)).has_value();
      }));
      EXPECT_THAT(Output(), HasSubstr("cluster is ready"));
      child->Terminate();
    }
    const std::optional<ExitState> end = child->Wait(kPatience);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->signal, 0);
    // The model here is none that can be fetched, and says so.
    const bool fetches = example.find("model fetch") != std::string::npos;
    EXPECT_EQ(end->code, fetches ? 1 : 0) << Output();
    EXPECT_EQ(Output().find("SHA-256") != std::string::npos, fetches) << Output();
  }
}

}  // namespace
}  // namespace skv::e2e
