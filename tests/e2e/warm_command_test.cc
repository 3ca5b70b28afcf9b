// `skv kvstore warm` against a real cluster: who asks about the document then finds it read.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

using ::testing::HasSubstr;

class WarmCommandTest : public testing::Test {
 protected:
  WarmCommandTest() {
    std::ofstream file(document_);
    for (int i = 0; i < 16; ++i) {
      file << "The room beside the stairs had number " << i * 37 % 11 << " on its door. ";
    }
  }
  ~WarmCommandTest() override { std::filesystem::remove(document_); }

  // What `skv ...` prints; it ends with `exit_code`.
  static std::string Run(const std::vector<std::string>& arguments, int exit_code = 0) {
    Program program("skv", arguments);
    const auto ended = program.child().Wait(kPatience);
    EXPECT_TRUE(ended.has_value());
    if (ended.has_value()) {
      EXPECT_EQ(ended->code, exit_code) << program.Output();
    }
    return program.Output();
  }

  const std::string document_ = testing::TempDir() + "/skv_warm_" + std::to_string(getpid());
};

TEST_F(WarmCommandTest, WhoAsksAboutTheDocumentThenFindsItRead) {
  ASSERT_OK_AND_ASSIGN(const auto cluster,
                       Cluster::Start({.tensor_parallel_size = 1, .flags = {"--kvstore"}}));
  // Until then it keeps what it reads in memory of its own, which ends with the store's arrival.
  ASSERT_TRUE(Eventually(
      [&] { return cluster->Metric("group 0 rank 0", "skv_worker_prefix_cache_shared") == 1; }));
  const auto warm = [&](const std::string& salt) {
    return nlohmann::json::parse(Run({"kvstore", "warm", document_, "--raw", "--endpoint",
                                      cluster->endpoint(), "--cache-salt", salt, "--json"}));
  };
  const auto cold = warm("a");
  EXPECT_EQ(cold["cached_tokens"], 0);
  const int num_tokens = cold["prompt_tokens"];
  EXPECT_GT(num_tokens, 400);
  EXPECT_GT(warm("a")["cached_tokens"], num_tokens / 2);
  EXPECT_EQ(warm("b")["cached_tokens"], 0) << "of another salt";

  const auto answer = nlohmann::json::parse(
      Run({"generate", "--endpoint", cluster->endpoint(), "--raw", "--file", document_,
           "--cache-salt", "b", "--max-tokens", "2", "--json", "Which number was the last one?"}));
  EXPECT_GT(answer["usage"]["cached_tokens"], num_tokens / 2);
  EXPECT_THAT(Run({"kvstore", "warm", document_, "--raw", "--endpoint", cluster->endpoint()}),
              HasSubstr(" tokens, 0 were cached before, "));
}

TEST_F(WarmCommandTest, MistakesAreNamedAndTellTheExitCode) {
  EXPECT_THAT(Run({"kvstore", "warm", "/nonexistent", "--endpoint", "127.0.0.1:1"}, 2),
              HasSubstr("DOCUMENT /nonexistent: cannot be read"));
  EXPECT_THAT(Run({"kvstore", "warm", document_, "--endpoint", "127.0.0.1:1"}, 3),
              HasSubstr("nobody answers"));
}

}  // namespace
}  // namespace skv::e2e
