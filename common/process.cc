#include "common/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status.h"

namespace skv {
namespace {

using std::chrono::milliseconds;

// True when `fd` becomes readable within `timeout`.
bool AwaitReadable(int fd, milliseconds timeout) {
  const TimePoint deadline = RealClock().Now() + timeout;
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - RealClock().Now());
    pollfd entry{fd, POLLIN, 0};
    const int ready =
        poll(&entry, 1, static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1 << 30)));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// This process's environment with `changes` in place of the variables that they name.
std::vector<std::string> MergeEnvironment(const std::vector<std::string>& changes) {
  std::map<std::string, std::string> by_name;
  const auto add = [&](const std::string& entry) {
    by_name[entry.substr(0, entry.find('='))] = entry;
  };
  for (char** entry = environ; *entry != nullptr; ++entry) add(*entry);
  for (const std::string& entry : changes) add(entry);
  std::vector<std::string> merged;
  for (auto& [name, entry] : by_name) merged.push_back(std::move(entry));
  return merged;
}

// Everything that the child needs, made before the fork: after it, only async-signal-safe calls.
struct Launch {
  std::vector<char*> args;
  std::vector<char*> environment;
  int log_fd = -1;
  int error_fd = -1;  // closes at exec; gets errno if that fails
  pid_t parent = 0;
};

[[noreturn]] void RunChild(const Launch& launch) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have died before the call above took effect.
  if (getppid() != launch.parent) _exit(127);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD}) {
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (launch.log_fd >= 0) {
    dup2(launch.log_fd, STDOUT_FILENO);
    dup2(launch.log_fd, STDERR_FILENO);
  }
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  execvpe(launch.args[0], launch.args.data(), launch.environment.data());
  const int error = errno;
  (void)!write(launch.error_fd, &error, sizeof(error));
  _exit(127);
}

// Returns once the program runs, or with the reason why it cannot.
absl::StatusOr<pid_t> ForkAndExec(Launch* launch) {
  int error_pipe[2];
  if (pipe2(error_pipe, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe2");
  launch->error_fd = error_pipe[1];
  const pid_t pid = fork();
  if (pid == 0) RunChild(*launch);
  int error = pid < 0 ? errno : 0;
  close(error_pipe[1]);
  if (pid > 0) {
    while (read(error_pipe[0], &error, sizeof(error)) < 0 && errno == EINTR) {
    }
    if (error != 0) waitpid(pid, nullptr, 0);
  }
  close(error_pipe[0]);
  if (error != 0) return absl::ErrnoToStatus(error, pid < 0 ? "fork" : "exec");
  return pid;
}

ExitState ToExitState(int wait_status) {
  ExitState state;
  if (WIFSIGNALED(wait_status)) {
    state.signal = WTERMSIG(wait_status);
  } else {
    state.code = WEXITSTATUS(wait_status);
  }
  return state;
}

}  // namespace

std::string ExitState::ToString() const {
  if (signal == 0) return absl::StrCat("exited with code ", code);
  return absl::StrCat("was killed by signal ", signal, " (", strsignal(signal), ")");
}

absl::StatusOr<std::unique_ptr<ScopedChild>> ScopedChild::Start(const ChildOptions& options) {
  if (options.args.empty()) return absl::InvalidArgumentError("no program to start");
  std::vector<std::string> args = options.args;
  std::vector<std::string> environment = MergeEnvironment(options.environment);
  Launch launch{Pointers(args), Pointers(environment)};
  launch.parent = getpid();
  if (!options.log_path.empty()) {
    launch.log_fd = open(options.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (launch.log_fd < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot open log file ", options.log_path));
    }
  }
  const absl::StatusOr<pid_t> pid = ForkAndExec(&launch);
  if (launch.log_fd >= 0) close(launch.log_fd);
  if (!pid.ok()) return Annotate(pid.status(), "cannot start " + options.args[0]);
  const int pid_fd = static_cast<int>(syscall(SYS_pidfd_open, *pid, 0));
  const int error = errno;
  auto child = std::unique_ptr<ScopedChild>(new ScopedChild(*pid, pid_fd));
  if (pid_fd < 0) return absl::ErrnoToStatus(error, "pidfd_open");
  return child;
}

ScopedChild::~ScopedChild() {
  Signal(SIGKILL);
  if (!exit_state_) waitpid(pid_, nullptr, 0);
  if (pid_fd_ >= 0) close(pid_fd_);
}

std::optional<ExitState> ScopedChild::Wait(milliseconds timeout) {
  if (!exit_state_ && AwaitReadable(pid_fd_, timeout)) {
    int wait_status = 0;
    if (waitpid(pid_, &wait_status, 0) == pid_) exit_state_ = ToExitState(wait_status);
  }
  return exit_state_;
}

// The pid stays ours until waitpid has collected the child.
void ScopedChild::Signal(int signal) {
  if (!exit_state_) kill(pid_, signal);
}

void ScopedChild::Terminate() {
  Signal(SIGTERM);
  Signal(SIGCONT);  // a stopped child could not act on it
}

}  // namespace skv
