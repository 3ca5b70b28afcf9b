// The supervisor of `skv cluster up` over stand-ins for the real processes.

#include "tools/cli/cluster/supervisor.h"

#include <csignal>

#include "common/admin_server.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::cli {
namespace {

using e2e::Eventually;

// Answers 200 to everything, and its process id.
constexpr char kReadyServer[] = R"(
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"pid":%d}' % os.getpid()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    protocol_version = "HTTP/1.1"
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
)";

// A cluster of one process.
ClusterPlan PlanOf(std::vector<std::string> args, int admin_port) {
  ClusterPlan plan;
  plan.router = {.name = "stand-in",
                 .child = {.args = std::move(args), .environment = {}, .log_path = "/dev/null"},
                 .admin_host = "127.0.0.1",
                 .admin_port = admin_port};
  return plan;
}

TEST(SupervisorTest, ProcessThatWasReadyMayEndAnyNumberOfTimes) {
  const int port = e2e::FindFreePorts();
  Supervisor supervisor(PlanOf({"python3", "-c", kReadyServer, std::to_string(port)}, port));
  ASSERT_OK(supervisor.Start());
  for (int round = 0; round < 7; ++round) {
    absl::Status watched;
    ASSERT_TRUE(Eventually([&] {
      watched = supervisor.Watch();
      return !watched.ok() || supervisor.IsReady();
    }));
    ASSERT_OK(watched) << "round " << round;
    const pid_t pid = supervisor.pids().at(0);
    kill(pid, SIGKILL);
    ASSERT_TRUE(Eventually([&] { return supervisor.Watch().ok() && !supervisor.IsReady(); }));
  }
}

TEST(SupervisorTest, AnotherProcessOnThePortIsNotTakenForTheChild) {
  ASSERT_OK_AND_ASSIGN(const auto stranger, AdminServer::Start({}));
  Supervisor supervisor(PlanOf({"sleep", "1000"}, stranger->port()));
  ASSERT_OK(supervisor.Start());
  ASSERT_OK(supervisor.Watch());
  EXPECT_FALSE(supervisor.IsReady());
}

TEST(SupervisorTest, StopEndsAStoppedProcessAndHurriesWhenAsked) {
  Supervisor stopped(PlanOf({"sleep", "1000"}, /*admin_port=*/1));
  ASSERT_OK(stopped.Start());
  kill(stopped.pids().at(0), SIGSTOP);
  stopped.Stop(TimePoint::max(), [] { return false; });

  Supervisor stubborn(PlanOf({"sh", "-c", "trap '' TERM; sleep 1000"}, /*admin_port=*/1));
  ASSERT_OK(stubborn.Start());
  const pid_t pid = stubborn.pids().at(0);
  stubborn.Stop(TimePoint::max(), [] { return true; });
  EXPECT_FALSE(e2e::IsRunning(pid));
}

}  // namespace
}  // namespace skv::cli
