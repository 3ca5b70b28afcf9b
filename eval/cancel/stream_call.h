#pragma once
// One Generate call to a router, read by a thread of its own.

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/types.h"
#include "skv/v1/generation.grpc.pb.h"

namespace skv::eval {

struct StreamResult {
  grpc::Status status;
  std::vector<TokenId> tokens;         // of all samples, as they came
  std::vector<TimePoint> token_times;  // when each of them came
  std::string text;                    // of all samples, as it came
  std::map<int, std::vector<TokenId>> sample_tokens;
  v1::FinishReason finish_reason = v1::FINISH_REASON_UNSPECIFIED;
  int num_retries = 0;
  int num_migrations = 0;
  int64_t num_cached_tokens = 0;              // of the prompt
  v1::KvReport kv_report;                     // of the sample that ended last
  std::vector<v1::Explanation> explanations;  // of all samples, as they came
};

// Between two tokens that follow each other, of all samples; 0 with fewer than two.
double LongestPauseSeconds(const StreamResult& result);

// A channel to a router; it may be shared by any number of calls.
std::shared_ptr<grpc::Channel> ConnectTo(const std::string& endpoint);

// Thread-safe.
class StreamCall {
 public:
  // Starts the call, which ends after `timeout` at the latest.
  StreamCall(std::shared_ptr<grpc::Channel> channel, v1::GenerateRequest request,
             std::chrono::milliseconds timeout);
  ~StreamCall();  // cancels what still runs

  void Cancel() { context_.TryCancel(); }
  // Waits until `count` tokens came (true), or the call ended or its time-out passed with fewer.
  bool WaitForTokens(size_t count);
  size_t num_tokens() const;
  bool ended() const;
  // Waits for the end.
  StreamResult Wait();

 private:
  void Read();

  const std::unique_ptr<v1::Generation::Stub> stub_;
  const v1::GenerateRequest request_;
  const std::chrono::steady_clock::time_point deadline_;
  grpc::ClientContext context_;
  mutable Mutex mutex_;
  CondVar changed_;
  StreamResult result_ SKV_GUARDED_BY(mutex_);
  bool ended_ SKV_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// The same from start to end.
StreamResult Call(const std::shared_ptr<grpc::Channel>& channel, const v1::GenerateRequest& request,
                  std::chrono::milliseconds timeout);

}  // namespace skv::eval
