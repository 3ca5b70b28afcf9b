#pragma once
// For the tests of this folder: a private folder for rendezvous files, and groups of ranks that run
// as threads or as forked processes.

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "common/testing/status_matchers.h"
#include "worker/comm/shm_communicator.h"

namespace skv::comm {

// A folder in shared memory that goes with the test.
class RendezvousFolder {
 public:
  RendezvousFolder() {
    std::string name = "/dev/shm/skv_comm_test_XXXXXX";
    const char* made = mkdtemp(name.data());
    folder_ = made == nullptr ? "/nonexistent" : made;
  }
  ~RendezvousFolder() { std::filesystem::remove_all(folder_); }

  ShmOptions Options(int rank, int world_size) const {
    ShmOptions options;
    options.path = path();
    options.rank = rank;
    options.world_size = world_size;
    options.fingerprint = "model A";
    options.join_timeout = std::chrono::seconds(60);
    options.call_timeout = std::chrono::seconds(60);
    return options;
  }
  std::string path() const { return folder_ + "/group"; }
  bool IsEmpty() const { return std::filesystem::is_empty(folder_); }

 private:
  std::string folder_;
};

using RankBody = std::function<void(Communicator& group)>;

// Joins one thread a rank and runs `body` on each.
inline void RunThreads(const RendezvousFolder& folder, int world_size, const RankBody& body) {
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    ranks.emplace_back([&, rank] {
      auto group = JoinShmGroup(folder.Options(rank, world_size));
      ASSERT_OK(group);
      body(**group);
    });
  }
  for (std::thread& rank : ranks) rank.join();
}

// A forked process that runs `body` and exits with 0 unless a test expectation failed in it.
class RankProcess {
 public:
  explicit RankProcess(const std::function<void()>& body) : pid_(fork()) {
    if (pid_ != 0) return;
    body();
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  ~RankProcess() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  RankProcess(const RankProcess&) = delete;
  RankProcess& operator=(const RankProcess&) = delete;

  pid_t pid() const { return pid_; }

  // Returns once the signal has taken effect, where it stops or ends the process.
  void Signal(int signal) {
    kill(pid_, signal);
    if (signal == SIGSTOP) waitpid(pid_, nullptr, WUNTRACED);
    if (signal == SIGKILL) {
      waitpid(pid_, nullptr, 0);
      pid_ = 0;
    }
  }

  // Until it has stopped itself.
  void WaitUntilStopped() { waitpid(pid_, nullptr, WUNTRACED); }

  // The exit code, or minus the signal that ended it.
  int Wait() {
    int state = 0;
    waitpid(pid_, &state, 0);
    pid_ = 0;
    return WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
  }

 private:
  pid_t pid_;
};

}  // namespace skv::comm
