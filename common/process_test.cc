#include "common/process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "common/clock.h"
#include "common/testing/status_matchers.h"

namespace skv {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr milliseconds kLong{60'000};

std::string TempPath(const std::string& name) {
  return testing::TempDir() + "skv_process_test_" + std::to_string(getpid()) + "_" + name;
}

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

ChildOptions Shell(const std::string& script) { return {{"sh", "-c", script}, {}, ""}; }

TEST(ScopedChildTest, ReportsHowTheChildEnded) {
  const struct {
    const char* script;
    const char* text;
    bool ok;
  } kCases[] = {{"exit 0", "exited with code 0", true},
                {"exit 3", "exited with code 3", false},
                {"kill -9 $$", "was killed by signal 9 (Killed)", false}};
  for (const auto& c : kCases) {
    ASSERT_OK_AND_ASSIGN(const auto child, ScopedChild::Start(Shell(c.script)));
    const std::optional<ExitState> state = child->Wait(kLong);
    ASSERT_TRUE(state.has_value());
    EXPECT_EQ(state->ToString(), c.text);
    EXPECT_EQ(state->ok(), c.ok);
    EXPECT_EQ(child->Wait(milliseconds(0))->ToString(), c.text) << "asked again";
  }
}

TEST(ScopedChildTest, PassesEnvironmentAndWritesTheLog) {
  const std::string log = TempPath("log");
  ChildOptions options = Shell("echo $SKV_CHILD_TEST; echo to stderr >&2");
  options.environment = {"SKV_CHILD_TEST=changed"};
  options.log_path = log;
  setenv("SKV_CHILD_TEST", "inherited", 1);
  ASSERT_OK_AND_ASSIGN(const auto child, ScopedChild::Start(options));
  unsetenv("SKV_CHILD_TEST");
  ASSERT_TRUE(child->Wait(kLong).has_value());
  EXPECT_EQ(ReadFile(log), "changed\nto stderr\n");
  unlink(log.c_str());
}

TEST(ScopedChildTest, ProgramThatCannotStartIsNamed) {
  EXPECT_THAT(ScopedChild::Start({{"/nonexistent/program"}, {}, ""}),
              StatusIs(StatusCode::kNotFound, HasSubstr("cannot start /nonexistent/program")));
  EXPECT_THAT(ScopedChild::Start({{"/tmp"}, {}, ""}),
              StatusIs(StatusCode::kPermissionDenied, HasSubstr("/tmp")));
  EXPECT_THAT(ScopedChild::Start({{"true"}, {}, "/nonexistent/log"}),
              StatusIs(StatusCode::kNotFound, HasSubstr("/nonexistent/log")));
  EXPECT_THAT(ScopedChild::Start({}), StatusIs(StatusCode::kInvalidArgument, HasSubstr("program")));
}

TEST(ScopedChildTest, TerminateEndsAChildThoughItIsStopped) {
  for (const bool stopped : {false, true}) {
    ASSERT_OK_AND_ASSIGN(const auto child, ScopedChild::Start({{"sleep", "1000"}, {}, ""}));
    EXPECT_FALSE(child->Wait(milliseconds(0)).has_value());
    if (stopped) child->Signal(SIGSTOP);
    child->Terminate();
    const std::optional<ExitState> end = child->Wait(kLong);
    ASSERT_TRUE(end.has_value()) << "stopped: " << stopped;
    EXPECT_EQ(end->signal, SIGTERM);
  }
}

TEST(ScopedChildTest, DestructorLeavesNoProcess) {
  ASSERT_OK_AND_ASSIGN(auto child, ScopedChild::Start({{"sleep", "1000"}, {}, ""}));
  const pid_t pid = child->pid();
  child.reset();
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(ScopedChildTest, ChildDiesWithAKilledParent) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const pid_t supervisor = fork();
  if (supervisor == 0) {
    auto child = ScopedChild::Start({{"sleep", "1000"}, {}, ""});
    const pid_t pid = child.ok() ? (*child)->pid() : -1;
    (void)!write(fds[1], &pid, sizeof(pid));
    while (true) pause();
  }
  pid_t orphan = -1;
  ASSERT_EQ(read(fds[0], &orphan, sizeof(orphan)), static_cast<ssize_t>(sizeof(orphan)));
  ASSERT_GT(orphan, 0);
  ASSERT_EQ(kill(orphan, 0), 0);
  kill(supervisor, SIGKILL);
  waitpid(supervisor, nullptr, 0);
  // Dead, whether or not init has collected it yet.
  const std::string stat_path = "/proc/" + std::to_string(orphan) + "/stat";
  const TimePoint deadline = RealClock().Now() + kLong;
  bool is_dead = false;
  while (!is_dead && RealClock().Now() < deadline) {
    const std::string stat = ReadFile(stat_path);
    is_dead = stat.empty() || stat.find(") Z ") != std::string::npos;
  }
  EXPECT_TRUE(is_dead);
  close(fds[0]);
  close(fds[1]);
}

TEST(ScopedChildTest, ChildHasDefaultSignalsAndNoStrayDescriptors) {
  sigset_t terminating, before;
  sigemptyset(&terminating);
  sigaddset(&terminating, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &terminating, &before);
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const std::string log = TempPath("fds");
  // The shell's own `read` of the folder shows up as one more than the standard three.
  ChildOptions options = Shell("ls /proc/self/fd | wc -l; grep SigBlk /proc/self/status");
  options.log_path = log;
  ASSERT_OK_AND_ASSIGN(const auto child, ScopedChild::Start(options));
  ASSERT_TRUE(child->Wait(kLong).has_value());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(ReadFile(log), "4\nSigBlk:\t0000000000000000\n");
  unlink(log.c_str());
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
}  // namespace skv
