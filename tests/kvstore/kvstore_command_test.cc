// `skv kvstore` against the real skv-kvstore, and what that says of its health.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/process.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "kvstore/server/testing/test_client.h"
#include "tests/e2e/testing/cluster.h"
#include "tests/e2e/testing/sanitizer_report.h"

namespace skv::kvstore {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;

class KvstoreCommandTest : public testing::Test {
 protected:
  KvstoreCommandTest() {
    char name[] = "/tmp/skv_kvstore_XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    store_ = std::make_unique<e2e::Program>(
        "skv-kvstore",
        std::vector<std::string>{"--socket", folder_ + "/s", "--arena-bytes", "1048576",
                                 "--tenant-quota", "batch=65536", "--scrub-bytes-per-second", "0"});
    const std::string before = "gRPC on ";
    EXPECT_TRUE(
        e2e::Eventually([&] { return store_->Output().find("/metrics\n") != std::string::npos; }));
    std::istringstream(store_->Output().substr(store_->Output().find(before) + before.size())) >>
        endpoint_;
  }
  ~KvstoreCommandTest() override {
    store_->child().Terminate();
    EXPECT_TRUE(store_->child().Wait(e2e::kPatience).has_value());
    std::filesystem::remove_all(folder_);
  }

  // What `skv kvstore COMMAND` prints; it ends with `exit_code`.
  std::string Run(std::vector<std::string> arguments, int exit_code = 0) {
    arguments.insert(arguments.begin(), "kvstore");
    arguments.insert(arguments.end(), {"--endpoint", endpoint_});
    e2e::Program program("skv", arguments);
    const auto ended = program.child().Wait(e2e::kPatience);
    EXPECT_TRUE(ended.has_value());
    EXPECT_EQ(ended->code, exit_code) << program.Output();
    return program.Output();
  }
  nlohmann::json Stats() { return nlohmann::json::parse(Run({"stats", "--json"})); }
  // A chain that is sealed and held by nobody.
  void StoreChain(int length) {
    TestClient client(folder_ + "/s");
    for (const Sentence& sentence : MakeChain(1, length)) {
      EXPECT_TRUE(client.Store(sentence).has_value());
    }
  }

  std::string folder_;
  std::string endpoint_;
  std::unique_ptr<e2e::Program> store_;
};

TEST_F(KvstoreCommandTest, ListsPinsAndPurges) {
  StoreChain(3);
  ASSERT_TRUE(e2e::Eventually([&] { return Stats()["num_leases"] == 0; }));
  EXPECT_EQ(Stats()["num_sealed_entries"], 3);
  EXPECT_THAT(Run({"stats"}), AllOf(HasSubstr("entries    3 of"), HasSubstr("\nbatch")));

  std::istringstream lines(Run({"ls", "--json"}));
  std::vector<nlohmann::json> entries;
  for (std::string line; std::getline(lines, line);) entries.push_back(nlohmann::json::parse(line));
  ASSERT_THAT(entries, SizeIs(3));
  EXPECT_EQ(entries[1]["depth"], 1);
  EXPECT_THAT(Run({"ls", "--limit", "1"}), HasSubstr("... (--limit)"));

  const std::string second = entries[1]["key"];
  EXPECT_EQ(Run({"pin", second, "--seconds", "600"}), "");
  EXPECT_THAT(Run({"ls"}), HasSubstr("600"));
  EXPECT_THAT(Run({"purge"}), HasSubstr("1 entries, 192 bytes"));
  EXPECT_EQ(Run({"unpin", second}), "");
  EXPECT_EQ(nlohmann::json::parse(Run({"purge", "--json", "--tenant", "-"}))["num_entries"], 2);
  EXPECT_EQ(Stats()["num_entries"], 0);
}

TEST_F(KvstoreCommandTest, VerifyNamesAndDropsWhatIsDamaged) {
  const std::vector<Sentence> chain = MakeChain(1, 40);
  TestClient client(folder_ + "/s");
  std::vector<ArenaRange> places;
  for (const Sentence& sentence : chain) {
    const auto stored = client.Store(sentence);
    ASSERT_TRUE(stored.has_value());
    places.push_back(stored->range);
  }
  EXPECT_EQ(Run({"verify"}), "40 entries, 0.0 MiB compared, 0 damaged\n");

  client.PlaceOf(places[38])[HeaderBytes(1) + 5] ^= std::byte{1};
  const std::string output = Run({"verify"}, 1);
  EXPECT_THAT(output, AllOf(HasSubstr("40 entries, 0.0 MiB compared, 1 damaged\n"),
                            HasSubstr("1 damaged entries were dropped")));
  EXPECT_THAT(output, HasSubstr("dropped " + ToHex(chain[38].item.key) + "/"));
  const auto verified = nlohmann::json::parse(Run({"verify", "--json"}));
  EXPECT_EQ(verified["num_entries"], Stats()["num_sealed_entries"]);
  EXPECT_EQ(verified["num_damaged_entries"], 0);
  EXPECT_EQ(client.Get(KeysOf(chain)).blocks.size(), 38u);
}

TEST_F(KvstoreCommandTest, EveryExampleOfEveryHelpRuns) {
  StoreChain(1);
  const std::string key = nlohmann::json::parse(Run({"ls", "--json"}))["key"];
  for (const char* const command : {"stats", "ls", "verify", "pin", "unpin", "purge"}) {
    e2e::Program help("skv", {"kvstore", command, "--help"});
    ASSERT_TRUE(help.child().Wait(e2e::kPatience).has_value());
    std::istringstream lines(help.Output());
    int num_examples = 0;
    for (std::string line; std::getline(lines, line);) {
      if (!absl::StartsWith(line, "  skv kvstore ")) continue;
      SCOPED_TRACE(line);
      ++num_examples;
      const std::string example = absl::StrReplaceAll(
          line, {{"localhost:9400", endpoint_},
                 {"0123456789abcdef0123456789abcdef/00112233445566778899aabbccddeeff", key}});
      const auto child = ScopedChild::Start(
          {.args = {"bash", "-c", absl::StrCat("cd ", folder_, "; ", example)},
           .environment = {absl::StrCat("PATH=", e2e::BinaryPath(""), ":", std::getenv("PATH"))},
           .log_path = folder_ + "/output"});
      ASSERT_TRUE(child.ok());
      const auto ended = (*child)->Wait(e2e::kPatience);
      ASSERT_TRUE(ended.has_value());
      EXPECT_TRUE(ended->ok()) << e2e::ReadFile(folder_ + "/output");
    }
    EXPECT_GT(num_examples, 0) << command;
  }
}

TEST_F(KvstoreCommandTest, AStoreThatServesIsHealthy) {
  const auto health = grpc::health::v1::Health::NewStub(
      grpc::CreateChannel(endpoint_, grpc::InsecureChannelCredentials()));
  EXPECT_TRUE(e2e::Eventually([&] {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckResponse response;
    return health->Check(&context, {}, &response).ok() &&
           response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  }));
}

TEST_F(KvstoreCommandTest, MistakesAreNamedAndTellTheExitCode) {
  EXPECT_THAT(Run({"pin", "nonsense"}, 2), HasSubstr("PREFIX/LAYOUT"));
  EXPECT_THAT(Run({"unpin", std::string(32, '0') + "/" + std::string(32, '0')}, 2),
              HasSubstr("no pinned entry"));
  EXPECT_THAT(Run({"purge", "--tenant", "nobody"}, 2), HasSubstr("'nobody' has no quota"));
  endpoint_ = "127.0.0.1:1";
  EXPECT_THAT(Run({"stats"}, 3), HasSubstr("nobody answers"));
}

}  // namespace
}  // namespace skv::kvstore
