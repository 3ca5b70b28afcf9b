// `skv kvstore` against the real skv-kvstore.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/server/testing/test_client.h"
#include "tests/e2e/testing/cluster.h"

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
        "skv-kvstore", std::vector<std::string>{"--socket", folder_ + "/s", "--arena-bytes",
                                                "1048576", "--tenant-quota", "batch=65536"});
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
