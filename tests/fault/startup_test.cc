// What cannot start says why: the message names what is wrong and what to do about it.

#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/admin_server.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Fails the test unless the program ends with an error, whose message is `message`.
void ExpectFailure(Program* program, const ::testing::Matcher<std::string>& message) {
  const std::optional<ExitState> end = program->child().Wait(kPatience);
  ASSERT_TRUE(end.has_value()) << "still runs: " << program->Output();
  EXPECT_EQ(end->signal, 0) << end->ToString();
  EXPECT_NE(end->code, 0);
  EXPECT_THAT(program->Output(), message);
}

std::vector<std::string> RankArguments(const loader::TinyLlamaFile& model, int rank,
                                       const std::string& group_path) {
  return {"--model",
          model.path(),
          "--threads",
          "1",
          "--rank",
          absl::StrCat(rank),
          "--tensor-parallel-size",
          "2",
          "--group-path",
          group_path};
}

std::string GroupPath() {
  static int next = 0;
  return absl::StrCat("/dev/shm/skv-startup-test-", getpid(), "-", next++);
}

TEST(StartupTest, PortInUseIsNamed) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1}));
  const std::string port = cluster->endpoint().substr(cluster->endpoint().find(':') + 1);
  const std::string admin_port = absl::StrCat(cluster->processes()[0].admin_port);

  const std::string log_dir = ::testing::TempDir() + "skv_port_in_use_" + port;
  Program second("skv", {"cluster", "up", "--model", model.path(), "--threads", "1", "--port", port,
                         "--log-dir", log_dir});
  Program worker("skv-worker", {"--model", model.path(), "--threads", "1", "--port", port});
  Program router("skv-router", {"--worker-urls", "127.0.0.1:1", "--port", port});
  Program admin("skv-router", {"--worker-urls", "127.0.0.1:1", "--admin-port", admin_port});
  ExpectFailure(&worker, AllOf(HasSubstr(port), HasSubstr("in use"), HasSubstr("--port")));
  ExpectFailure(&router, AllOf(HasSubstr(port), HasSubstr("in use"), HasSubstr("--port")));
  ExpectFailure(&admin, AllOf(HasSubstr(admin_port), HasSubstr("in use")));
  ExpectFailure(&second, AllOf(HasSubstr(port), HasSubstr("in use"), HasSubstr("--port")));
  EXPECT_TRUE(cluster->Serves());
  std::filesystem::remove_all(log_dir);
}

TEST(StartupTest, EachPortOfAClusterIsCheckedBeforeAnyProcessStarts) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  const int base = FindFreePorts();
  const std::string log_dir = absl::StrCat(::testing::TempDir(), "skv_ports_", base);
  const std::pair<int, const char*> kPorts[] = {{base, "router's gRPC"},
                                                {base + 1, "router's metrics"},
                                                {base + 2, "kvstore's metrics"},
                                                {base + 3, "kvstore's gRPC"},
                                                {base + 30, "gRPC of group 0"},
                                                {base + 31, "gRPC of group 1"},
                                                {base + 133, "metrics of group 1 rank 1"}};
  for (const auto& [port, owner] : kPorts) {
    ASSERT_OK_AND_ASSIGN(const auto stranger, AdminServer::Start({.port = port}));
    Program cluster("skv", {"cluster", "up", "--groups", "2", "--tp", "2", "--kvstore", "--model",
                            model.path(), "--port", absl::StrCat(base), "--log-dir", log_dir});
    ExpectFailure(&cluster, AllOf(HasSubstr(absl::StrCat("127.0.0.1 port ", port)),
                                  HasSubstr(owner), HasSubstr("in use"), HasSubstr("--port")));
    EXPECT_TRUE(std::filesystem::is_empty(log_dir)) << "a process was started";
  }
  std::filesystem::remove_all(log_dir);
}

TEST(StartupTest, ClusterWhosePortsWouldNotBeThosePrintedIsRefused) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  const std::string log_dir = absl::StrCat(::testing::TempDir(), "skv_refused_", getpid());
  const struct {
    std::vector<std::string> flags;
    ::testing::Matcher<std::string> message;
  } kCases[] = {
      {{"--router-flag=--port=9000"}, AllOf(HasSubstr("--router-flag --port=9000"))},
      {{"--router-flag=--host,0.0.0.0"}, HasSubstr("--router-flag --host")},
      {{"--worker-flag=--admin-port=1"}, HasSubstr("--worker-flag --admin-port=1")},
      {{"--port", "65000", "--groups", "100", "--tp", "5"},
       AllOf(HasSubstr("--port 65000"), HasSubstr("65629"), HasSubstr("at most 64906"))},
      {{"--kvstore", "--worker-flag=--kvstore-socket=s"}, HasSubstr("--kvstore-socket=s")},
      {{"--kvstore", "--kvstore-flag=--admin-port=1"}, HasSubstr("--kvstore-flag --admin-port=1")},
      {{"--kvstore-flag=--arena-bytes=1"}, HasSubstr("add --kvstore")},
      {{"--host", "192.0.2.1"}, AllOf(HasSubstr("--host 192.0.2.1"), HasSubstr("no such address"))},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.flags.back());
    std::vector<std::string> arguments = {"cluster",    "up",        "--model",
                                          model.path(), "--log-dir", log_dir};
    arguments.insert(arguments.end(), c.flags.begin(), c.flags.end());
    Program cluster("skv", arguments);
    ExpectFailure(&cluster, c.message);
    EXPECT_TRUE(std::filesystem::is_empty(log_dir)) << "a process was started";
  }
  std::filesystem::remove_all(log_dir);
}

TEST(StartupTest, RanksThatDisagreeOnTheModelNameBoth) {
  loader::TinyLlamaOptions other = TinyModelOptions();
  other.seed = 2;
  const loader::TinyLlamaFile model(TinyModelOptions()), other_model(other);
  const std::string group_path = GroupPath();
  Program leader("skv-worker", RankArguments(model, 0, group_path));
  Program follower("skv-worker", RankArguments(other_model, 1, group_path));
  ASSERT_TRUE(leader.child().Wait(kPatience).has_value());
  ASSERT_TRUE(follower.child().Wait(kPatience).has_value());
  // Whoever comes second sees both sides.
  const std::string output = leader.Output() + follower.Output();
  EXPECT_THAT(output, AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr("rank 0"),
                            HasSubstr("rank 1"), HasSubstr("model ")));
}

TEST(StartupTest, RankThatNeverJoinsIsNamed) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  std::vector<std::string> arguments = RankArguments(model, 0, GroupPath());
  arguments.insert(arguments.end(), {"--join-timeout-secs", "1"});
  Program leader("skv-worker", arguments);
  ExpectFailure(&leader, AllOf(HasSubstr("UNAVAILABLE"), HasSubstr("rank(s) 1 did not join")));
}

TEST(StartupTest, ClusterListensOnTheAddressThatItIsGiven) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1,
                                                           .flags = {"--host", "127.0.0.2"}}));
  EXPECT_THAT(cluster->endpoint(), ::testing::StartsWith("127.0.0.2:"));
  EXPECT_TRUE(cluster->Serves());
}

TEST(StartupTest, AStoresSocketWithoutCachingIsRefused) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  Program worker("skv-worker", {"--model", model.path(), "--enable-prefix-caching=false",
                                "--kvstore-socket", "/tmp/s"});
  ExpectFailure(&worker, AllOf(HasSubstr("--kvstore-socket: \"/tmp/s\""),
                               HasSubstr("--enable-prefix-caching=false")));
}

TEST(StartupTest, AnAddressOfAStoreThatCannotBeFollowedIsRefused) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  const struct {
    std::vector<std::string> flags;
    const char* message;
  } kCases[] = {
      {{"--kvstore-watch-address", "a:9400"}, "give its --kvstore-socket, too"},
      {{"--kvstore-socket", "/tmp/s", "--kvstore-watch-address", "a"}, "got \"a\", expected host"},
      {{"--kvstore-socket", "/tmp/s", "--kvstore-watch-address", "a:0"}, "got \"a:0\""},
      {{"--kvstore-socket", "/tmp/s", "--kvstore-watch-address", ":9400"}, "got \":9400\""}};
  for (const auto& c : kCases) {
    std::vector<std::string> flags = {"--model", model.path()};
    flags.insert(flags.end(), c.flags.begin(), c.flags.end());
    Program worker("skv-worker", flags);
    ExpectFailure(&worker, AllOf(HasSubstr("--kvstore-watch-address"), HasSubstr(c.message)));
  }
}

TEST(StartupTest, HostThatIsNoAddressIsRefused) {
  const loader::TinyLlamaFile model(TinyModelOptions());
  Program cluster("skv", {"cluster", "up", "--model", model.path(), "--host", "localhost"});
  ExpectFailure(&cluster, AllOf(HasSubstr("--host"), HasSubstr("localhost"), HasSubstr("IPv4")));
}

TEST(StartupTest, MissingModelFileSaysHowToGetOne) {
  Program cluster("skv", {"cluster", "up", "--model", "/no/such/model.gguf"});
  Program worker("skv-worker", {"--model", "/no/such/model.gguf"});
  const auto message = AllOf(HasSubstr("/no/such/model.gguf"), HasSubstr("skv model fetch"));
  ExpectFailure(&cluster, message);
  ExpectFailure(&worker, message);
}

TEST(StartupTest, FlagsByWhichAStalledGroupIsNoticedLateWarnOrAreRefused) {
  const auto arguments = [](const char* interval, const char* stall) -> std::vector<std::string> {
    return {"--worker-urls", "127.0.0.1:1",          "--health-check-interval-secs",
            interval,        "--stall-timeout-secs", stall};
  };
  Program usual("skv-router", arguments("1", "3"));
  Program slow("skv-router", arguments("1", "60"));
  Program useless("skv-router", arguments("3600", "3"));
  const auto serves = [](const Program& router) {
    return router.Output().find("metrics on") != std::string::npos;
  };
  ASSERT_TRUE(Eventually([&] { return serves(usual) && serves(slow); }));
  EXPECT_THAT(slow.Output(), HasSubstr("noticed after up to 61.25 s"));
  EXPECT_THAT(usual.Output(), ::testing::Not(HasSubstr("noticed after")));
  ExpectFailure(&useless,
                AllOf(HasSubstr("--health-check-interval-secs"), HasSubstr("at most half")));
}

}  // namespace
}  // namespace skv::e2e
