#pragma once
// A redis-server that is the test's own, on a unix socket in a folder.

#include <signal.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/log.h"
#include "common/process.h"
#include "kvstore/tier/redis_connection.h"

namespace skv::kvstore {

class RedisProcess {
 public:
  // `extra`: of its command line.
  explicit RedisProcess(std::string folder, std::vector<std::string> extra = {})
      : folder_(std::move(folder)), extra_(std::move(extra)) {
    Start();
  }

  // Returns once it takes connections.
  void Start() {
    ChildOptions options = {.args = {"redis-server", "--port", "0", "--unixsocket", socket_path(),
                                     "--save", "", "--appendonly", "no", "--dir", folder_},
                            .log_path = folder_ + "/redis.log"};
    options.args.insert(options.args.end(), extra_.begin(), extra_.end());
    auto child = ScopedChild::Start(options);
    SKV_CHECK(child.ok()) << child.status();
    child_ = *std::move(child);
    const TimePoint deadline = RealClock().Now() + std::chrono::seconds(20);
    const auto parsed = RedisAddress::Parse(address());
    while (!RedisConnection::Connect(*parsed, std::chrono::seconds(1), deadline).ok()) {
      SKV_CHECK(RealClock().Now() < deadline) << "redis-server does not start";
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  void Kill() { child_.reset(); }
  void Stop() { child_->Signal(SIGSTOP); }
  void Continue() { child_->Signal(SIGCONT); }

  std::string address() const { return "unix://" + socket_path(); }

 private:
  std::string socket_path() const { return folder_ + "/redis.socket"; }

  const std::string folder_;
  const std::vector<std::string> extra_;
  std::unique_ptr<ScopedChild> child_;
};

}  // namespace skv::kvstore
