#include "common/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "common/log.h"

namespace skv {
namespace {

// A handler may write to a pipe but not lock; both ends are open while a SignalWaiter lives.
int pipe_fds[2] = {-1, -1};

void WriteByte() {
  const char byte = 1;
  [[maybe_unused]] const ssize_t written = write(pipe_fds[1], &byte, 1);
}

void OnSignal(int) {
  const int saved_errno = errno;
  WriteByte();
  errno = saved_errno;
}

}  // namespace

SignalWaiter::SignalWaiter() {
  SKV_CHECK(pipe_fds[0] == -1) << "a second SignalWaiter";
  SKV_CHECK(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) == 0) << "pipe";
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
}

SignalWaiter::~SignalWaiter() {
  signal(SIGTERM, SIG_DFL);
  signal(SIGINT, SIG_DFL);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
  pipe_fds[0] = pipe_fds[1] = -1;
}

void SignalWaiter::Wait() {
  while (!WaitFor(std::chrono::hours(1))) {
  }
}

bool SignalWaiter::WaitFor(std::chrono::milliseconds timeout) {
  pollfd waiting = {pipe_fds[0], POLLIN, 0};
  if (poll(&waiting, 1, static_cast<int>(timeout.count())) <= 0) return false;
  char bytes[16];
  [[maybe_unused]] const ssize_t count = read(pipe_fds[0], bytes, sizeof(bytes));
  return true;
}

void SignalWaiter::Raise() { WriteByte(); }

}  // namespace skv
