#include "bench/hostile/client_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"

namespace skv::hostile {

ClientProcess::ClientProcess(const std::function<bool(const std::function<void()>& yield)>& act) {
  int to_client[2], to_parent[2];
  SKV_CHECK(pipe(to_client) == 0 && pipe(to_parent) == 0);
  pid_ = fork();
  SKV_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(to_client[1]);
    close(to_parent[0]);
    const bool is_right = act([&] {
      char byte = 0;
      if (write(to_parent[1], "x", 1) != 1 || read(to_client[0], &byte, 1) != 1) _exit(2);
    });
    _exit(is_right ? 0 : 1);
  }
  close(to_client[0]);
  close(to_parent[1]);
  write_ = to_client[1];
  read_ = to_parent[0];
}

ClientProcess::~ClientProcess() {
  if (pid_ > 0) {
    Signal(SIGKILL);
    Join();
  }
  close(read_);
  close(write_);
}

bool ClientProcess::WaitForYield() {
  char byte = 0;
  return read(read_, &byte, 1) == 1;
}

void ClientProcess::GoOn() { SKV_CHECK(write(write_, "x", 1) == 1); }

void ClientProcess::Signal(int signal) { SKV_CHECK(kill(pid_, signal) == 0); }

bool ClientProcess::Join() {
  int state = 0;
  SKV_CHECK(waitpid(pid_, &state, 0) == pid_);
  pid_ = 0;
  return WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

}  // namespace skv::hostile
