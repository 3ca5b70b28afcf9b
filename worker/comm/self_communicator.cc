#include "worker/comm/self_communicator.h"

#include <cstring>

#include "common/mutex.h"
#include "common/status.h"

namespace skv::comm {
namespace {

class SelfCommunicator : public Communicator {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }

  absl::Status AllReduceSum(float* data, size_t count) override { return FirstError(); }
  absl::Status AllReduceSum(double* data, size_t count) override { return FirstError(); }
  absl::Status Broadcast(std::string* message, int timeout_ms) override { return FirstError(); }

  absl::Status Gather(const float* shard, const size_t* counts, float* out) override {
    SKV_RETURN_IF_ERROR(FirstError());
    if (counts[0] > 0) std::memmove(out, shard, counts[0] * sizeof(float));
    return absl::OkStatus();
  }

  void Abort(const absl::Status& why) override {
    MutexLock lock(&mutex_);
    if (first_error_.ok()) first_error_ = absl::AbortedError(why.message());
  }

 private:
  absl::Status FirstError() {
    MutexLock lock(&mutex_);
    return first_error_;
  }

  Mutex mutex_;
  absl::Status first_error_ SKV_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Communicator> CreateSelfCommunicator() {
  return std::make_unique<SelfCommunicator>();
}

}  // namespace skv::comm
