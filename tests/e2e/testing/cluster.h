#pragma once
// A whole cluster of real processes over a tiny model, for tests of what users and operators see.

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/process.h"
#include "common/testing/eventually.h"
#include "eval/cancel/scrape.h"
#include "eval/cancel/storm.h"
#include "eval/cancel/stream_call.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::e2e {

// How much more time and memory than usual this build may take (sanitizers): a factor for limits
// that are about the machine, not about the product.
inline constexpr int kSlowdown = SKV_SLOWDOWN;

// skv, skv-worker or skv-router of this build; SKV_BIN in the environment names another folder.
std::string BinaryPath(const std::string& name);

// Its context is long, so that a stream lasts until a test does something to it.
loader::TinyLlamaOptions TinyModelOptions();

// First of 200 consecutive ports of which those that a small cluster takes are free. No other
// process is given them while this one lives, and this one gets others first when it asks again.
int FindFreePorts();

// For what must happen, however loaded the machine is; nothing waits for it when all is well.
inline constexpr std::chrono::seconds kPatience{120 * kSlowdown};

// Asks again every 20 ms; false when `condition` did not hold within kPatience.
inline bool Eventually(absl::FunctionRef<bool()> condition) {
  return skv::Eventually(condition, kPatience, std::chrono::milliseconds(20));
}

// True while the process exists and is no zombie.
bool IsRunning(pid_t pid);

// A program with a file for what it prints; killed and removed with this object. The test fails if
// it printed a sanitizer's report.
class Program {
 public:
  // `arguments` follow the program's name. Aborts when it cannot be started.
  Program(const std::string& name, const std::vector<std::string>& arguments);
  ~Program();

  ScopedChild& child() { return *child_; }
  std::string Output() const;

 private:
  const std::string name_;
  const std::string log_path_;
  std::unique_ptr<ScopedChild> child_;
};

struct ClusterOptions {
  int num_groups = 1;
  int tensor_parallel_size = 2;
  // The router's. Ample, so that a machine that stalls is not taken for a worker that does.
  double stall_timeout_secs = 60;
  std::vector<std::string> flags;  // more of `skv cluster up`
};

class Cluster {
 public:
  // Ready to serve. DeadlineExceeded after kPatience, Unavailable with the output when it ended.
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(const ClusterOptions& options = {});
  // Stops all processes as SIGTERM does, which is when sanitizers look for leaks. The test fails if
  // they do not end, or one of them, replaced ones too, printed a sanitizer's report.
  ~Cluster();

  const std::string& endpoint() const { return endpoint_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const std::vector<eval::ProcessEndpoint>& processes() const { return processes_; }
  ScopedChild& supervisor() { return program_->child(); }
  std::string Output() const { return program_->Output(); }

  // Names are "router", "group 0 rank 1" and "kvstore"; the process that has the name now, or 0.
  pid_t Pid(const std::string& name) const;
  // 0 while it does not answer.
  double Metric(const std::string& name, std::string_view metric,
                std::string_view label = "") const;
  // A short request is answered rightly.
  bool Serves() const;

 private:
  Cluster() = default;
  void Stop();
  absl::Status Adopt(const std::string& json);
  int AdminPort(const std::string& name) const;

  std::unique_ptr<loader::TinyLlamaFile> model_;
  std::string log_dir_;
  std::unique_ptr<Program> program_;
  std::string endpoint_;
  std::vector<eval::ProcessEndpoint> processes_;
  std::shared_ptr<grpc::Channel> channel_;
};

// `max_tokens` tokens whatever the model says.
v1::GenerateRequest TextRequest(const std::string& text, int max_tokens);
// Longer than any test.
v1::GenerateRequest EndlessRequest();

}  // namespace skv::e2e
