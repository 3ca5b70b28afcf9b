// skv-stream-log: runs requests of standard input and writes down what came when.
//
// A line of input is one skv.v1.GenerateRequest as JSON. Two lines of output a request, in the
// order in which they happen: {"begin": n} when it is sent, n counts from 0, and when it has ended
//   {"end": n, "status": code, "message": "", "tokens": [ids], "times": [seconds], "retries": 0,
//    "migrations": 0}
// with for each token the time on the monotonic clock at which it came.

#include <google/protobuf/util/json_util.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/mutex.h"
#include "eval/cancel/stream_call.h"

namespace skv::eval {
namespace {

struct LogFlags {
  std::string endpoint;
  int concurrency = 8;
  int timeout_secs = 120;
};

// Requests in, lines out. Thread-safe.
class Lines {
 public:
  struct Next {
    int idx = 0;
    v1::GenerateRequest request;
  };

  // Says that it begins. nullopt: there is no further request, or the line is none.
  std::optional<Next> Take() {
    MutexLock lock(&in_mutex_);
    std::string line;
    if (failed_ || !std::getline(std::cin, line)) return std::nullopt;
    Next next{.idx = num_taken_++, .request = {}};
    const auto status = google::protobuf::util::JsonStringToMessage(line, &next.request);
    if (!status.ok()) {
      std::cerr << "skv-stream-log: line " << next.idx + 1 << ": " << status.ToString()
                << std::endl;
      failed_ = true;
      return std::nullopt;
    }
    Write({{"begin", next.idx}});
    return next;
  }

  void Print(int idx, const StreamResult& result) {
    nlohmann::json times = nlohmann::json::array();
    for (const TimePoint time : result.token_times) {
      times.push_back(ToSeconds(time.time_since_epoch()));
    }
    Write({{"end", idx},
           {"status", static_cast<int>(result.status.error_code())},
           {"message", result.status.error_message()},
           {"tokens", result.tokens},
           {"times", times},
           {"retries", result.num_retries},
           {"migrations", result.num_migrations}});
  }

  bool failed() {
    MutexLock lock(&in_mutex_);
    return failed_;
  }

 private:
  void Write(const nlohmann::json& line) {
    MutexLock lock(&out_mutex_);
    std::cout << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
  }

  // Waiting for a request holds up no reply.
  Mutex in_mutex_;  // before out_mutex_
  int num_taken_ SKV_GUARDED_BY(in_mutex_) = 0;
  bool failed_ SKV_GUARDED_BY(in_mutex_) = false;
  Mutex out_mutex_;
};

// False: a line of input was no request.
bool Run(const LogFlags& flags) {
  const auto channel = ConnectTo(flags.endpoint);
  Lines lines;
  std::vector<std::thread> clients;
  for (int i = 0; i < flags.concurrency; ++i) {
    clients.emplace_back([&] {
      while (const std::optional<Lines::Next> next = lines.Take()) {
        lines.Print(next->idx,
                    Call(channel, next->request, std::chrono::seconds(flags.timeout_secs)));
      }
    });
  }
  for (std::thread& client : clients) client.join();
  return !lines.failed();
}

}  // namespace
}  // namespace skv::eval

int main(int argc, char** argv) {
  skv::eval::LogFlags flags;
  skv::Flags parser("skv-stream-log",
                    "Runs requests, a line of JSON each, and writes down what came when");
  parser.Add("endpoint", &flags.endpoint, "Router to ask, host:port");
  parser.Require("endpoint");
  parser.Add("concurrency", &flags.concurrency, skv::IntRange{1, 1024}, "Requests at once");
  parser.Add("timeout-secs", &flags.timeout_secs, skv::IntRange{1, 86400},
             "A request ends after this");
  parser.SetExamples(
      "  echo '{\"text\": \"Once\", \"maxTokens\": 8}' | "
      "skv-stream-log --endpoint 127.0.0.1:8070");
  if (const std::optional<int> exit_code = parser.Parse(argc, argv)) return *exit_code;
  return skv::eval::Run(flags) ? 0 : 1;
}
