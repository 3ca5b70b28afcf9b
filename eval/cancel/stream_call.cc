#include "eval/cancel/stream_call.h"

#include <algorithm>

namespace skv::eval {

double LongestPauseSeconds(const StreamResult& result) {
  double longest = 0;
  for (size_t i = 1; i < result.token_times.size(); ++i) {
    longest = std::max(longest, ToSeconds(result.token_times[i] - result.token_times[i - 1]));
  }
  return longest;
}

std::shared_ptr<grpc::Channel> ConnectTo(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  // Quick to come back to a router that was restarted.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  // Channels with equal arguments would otherwise share one connection and its back-off.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
}

StreamCall::StreamCall(std::shared_ptr<grpc::Channel> channel, v1::GenerateRequest request,
                       std::chrono::milliseconds timeout)
    : stub_(v1::Generation::NewStub(std::move(channel))),
      request_(std::move(request)),
      deadline_(std::chrono::steady_clock::now() + timeout) {
  context_.set_deadline(std::chrono::system_clock::now() + timeout);
  thread_ = std::thread([this] { Read(); });
}

StreamCall::~StreamCall() {
  Cancel();
  if (thread_.joinable()) thread_.join();
}

void StreamCall::Read() {
  const auto reader = stub_->Generate(&context_, request_);
  v1::GenerateEvent event;
  while (reader->Read(&event)) {
    MutexLock lock(&mutex_);
    for (const v1::Token& token : event.tokens()) {
      result_.tokens.push_back(token.id());
      result_.sample_tokens[event.sample_index()].push_back(token.id());
    }
    result_.token_times.resize(result_.tokens.size(), RealClock().Now());
    result_.text += event.text();
    for (const v1::Explanation& explanation : event.explanations()) {
      result_.explanations.push_back(explanation);
    }
    if (event.has_finish()) result_.finish_reason = event.finish().reason();
    if (event.has_kv_report()) result_.kv_report = event.kv_report();
    if (event.has_usage()) result_.num_cached_tokens = event.usage().cached_tokens();
    if (event.has_timings()) {
      result_.num_retries = event.timings().num_retries();
      result_.num_migrations = event.timings().num_migrations();
    }
    changed_.NotifyAll();
  }
  grpc::Status status = reader->Finish();
  MutexLock lock(&mutex_);
  result_.status = std::move(status);
  ended_ = true;
  changed_.NotifyAll();
}

bool StreamCall::WaitForTokens(size_t count) {
  MutexLock lock(&mutex_);
  changed_.WaitUntil(&mutex_, deadline_, [&] { return ended_ || result_.tokens.size() >= count; });
  return result_.tokens.size() >= count;
}

size_t StreamCall::num_tokens() const {
  MutexLock lock(&mutex_);
  return result_.tokens.size();
}

bool StreamCall::ended() const {
  MutexLock lock(&mutex_);
  return ended_;
}

StreamResult StreamCall::Wait() {
  if (thread_.joinable()) thread_.join();
  MutexLock lock(&mutex_);
  return result_;
}

StreamResult Call(const std::shared_ptr<grpc::Channel>& channel, const v1::GenerateRequest& request,
                  std::chrono::milliseconds timeout) {
  return StreamCall(channel, request, timeout).Wait();
}

}  // namespace skv::eval
