#include "kvstore/watch/watch_client.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/mutex.h"
#include "grpcpp/alarm.h"
#include "grpcpp/grpcpp.h"
#include "kvstore/watch/watch_conversions.h"
#include "skv/kvstore/v1/kvstore.grpc.pb.h"

namespace skv::kvstore {
namespace {

// A store that has vanished without closing its connection is noticed after this and 20 s more.
constexpr int kKeepaliveMs = 30'000;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A channel of its own: another client of the same address must not share its backoff.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Stores are reached directly, whatever proxy the environment names.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

absl::Status ToAbslStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace

// Lives until its last call and alarm have ended; the channel only until Stop has returned, since
// gRPC 1.51 must not see a callback drop the last reference to it.
class WatchClient::Follower : public std::enable_shared_from_this<Follower> {
 public:
  Follower(const WatchClientOptions& options, WatchListener* listener)
      : options_(options), backoff_(options.min_backoff), mirror_(listener) {
    stub_ = v1::KvStore::NewStub(MakeChannel(options.address));
  }

  void Start();
  void Stop();
  WatchClientStatus status() const;

 private:
  class Call;
  bool OnMessage(const v1::WatchResponse& response);
  // The call is about to go, and is gone.
  void Forget();
  void OnCallDone(const absl::Status& status);
  void Schedule() SKV_REQUIRES(mutex_);

  const WatchClientOptions options_;
  mutable Mutex mutex_;
  CondVar idle_;
  bool is_stopping_ SKV_GUARDED_BY(mutex_) = false;
  bool is_calling_ SKV_GUARDED_BY(mutex_) = false;  // until OnCallDone
  Call* call_ SKV_GUARDED_BY(mutex_) = nullptr;     // may be cancelled; null from Forget on
  std::unique_ptr<grpc::Alarm> alarm_ SKV_GUARDED_BY(mutex_);
  std::unique_ptr<v1::KvStore::Stub> stub_ SKV_GUARDED_BY(mutex_);
  Duration backoff_ SKV_GUARDED_BY(mutex_);
  WatchMirror mirror_ SKV_GUARDED_BY(mutex_);
  WatchClientStatus status_ SKV_GUARDED_BY(mutex_);
};

// Owns itself until OnDone.
class WatchClient::Follower::Call : public grpc::ClientReadReactor<v1::WatchResponse> {
 public:
  Call(std::shared_ptr<Follower> follower, const WatchPosition& position)
      : follower_(std::move(follower)), request_(ToProto(position)) {}

  void Start(v1::KvStore::Stub* stub) {
    stub->async()->Watch(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }
  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;  // OnDone follows
    if (!follower_->OnMessage(response_)) context_.TryCancel();
    StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<Follower> follower = std::move(follower_);
    const absl::Status copy = ToAbslStatus(status);
    follower->Forget();
    // The context holds the channel, which must be gone from here before Stop returns.
    delete this;
    follower->OnCallDone(copy);
  }

 private:
  std::shared_ptr<Follower> follower_;
  grpc::ClientContext context_;
  const v1::WatchRequest request_;
  v1::WatchResponse response_;
};

// The call is started outside of the lock: gRPC may run callbacks meanwhile. Stop waits for it, so
// the stub stays.
void WatchClient::Follower::Start() {
  Call* call = nullptr;
  v1::KvStore::Stub* stub = nullptr;
  {
    const MutexLock lock(&mutex_);
    if (is_stopping_) return;
    ++status_.num_calls;
    is_calling_ = true;
    call = call_ = new Call(shared_from_this(), mirror_.BeginCall());
    stub = stub_.get();
  }
  call->Start(stub);
}

void WatchClient::Follower::Forget() {
  const MutexLock lock(&mutex_);
  call_ = nullptr;
}

void WatchClient::Follower::Stop() {
  std::unique_ptr<grpc::Alarm> alarm;
  const MutexLock lock(&mutex_);
  is_stopping_ = true;
  alarm = std::move(alarm_);
  if (call_ != nullptr) call_->Cancel();
  while (!idle_.WaitUntil(&mutex_, RealClock().Now() + std::chrono::seconds(10),
                          [this] { return !is_calling_; })) {
    SKV_LOG(WARNING) << "watch: waiting for the end of a call to " << options_.address;
  }
  stub_.reset();
}

bool WatchClient::Follower::OnMessage(const v1::WatchResponse& response) {
  const absl::StatusOr<WatchMessage> message = FromProto(response);
  const MutexLock lock(&mutex_);
  if (is_stopping_) return false;
  const absl::Status status = message.ok() ? mirror_.OnMessage(*message) : message.status();
  if (!status.ok()) {
    SKV_LOG_EVERY_SECONDS(WARNING, 10) << options_.address << ": " << status.ToString();
    return false;
  }
  if (message->is_page && message->is_first) ++status_.num_snapshots;
  status_.is_connected = true;
  backoff_ = options_.min_backoff;
  return true;
}

void WatchClient::Follower::OnCallDone(const absl::Status& status) {
  const MutexLock lock(&mutex_);
  is_calling_ = false;
  status_.is_connected = false;
  status_.last_error = status;
  if (is_stopping_) return idle_.NotifyAll();
  SKV_LOG_EVERY_SECONDS(INFO, 10) << "watch: the call to " << options_.address
                                  << " has ended: " << status.ToString();
  Schedule();
}

// An alarm cannot be set again from its own callback, so each wait has one of its own.
void WatchClient::Follower::Schedule() {
  const auto wait = std::chrono::duration_cast<std::chrono::system_clock::duration>(backoff_);
  backoff_ = std::min(2 * backoff_, options_.max_backoff);
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(std::chrono::system_clock::now() + wait,
              [follower = shared_from_this()](bool is_due) {
                if (is_due) follower->Start();
              });
}

WatchClientStatus WatchClient::Follower::status() const {
  const MutexLock lock(&mutex_);
  WatchClientStatus status = status_;
  status.is_complete = mirror_.is_complete();
  return status;
}

WatchClient::WatchClient(const WatchClientOptions& options, WatchListener* listener)
    : follower_(std::make_shared<Follower>(options, listener)) {
  follower_->Start();
}

WatchClient::~WatchClient() { follower_->Stop(); }

WatchClientStatus WatchClient::status() const { return follower_->status(); }

}  // namespace skv::kvstore
