#pragma once
// One Generate call: the engine's events go into a bounded buffer, gRPC takes them out one write at
// a time. The call of a client that leaves kMaxBufferedEvents events unread is cancelled.

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "common/mutex.h"
#include "skv/worker/v1/worker.grpc.pb.h"
#include "worker/engine/engine.h"
#include "worker/policy/kv_means.h"
#include "worker/policy/policy_params.h"

namespace skv::server {

inline constexpr size_t kMaxBufferedEvents = 4096;

// Lives until gRPC is done with the call and the engine with the request, whichever is later.
// Thread-safe: the engine's thread and gRPC's threads meet here.
class GenerateStream : public grpc::ServerWriteReactor<worker::v1::GenerateEvent>,
                       public engine::TokenSink,
                       public std::enable_shared_from_this<GenerateStream> {
 public:
  struct Callbacks {
    std::function<void(const engine::FinishEvent&)> on_finish;  // may be null; each sample's finish
    std::function<void()> on_done;                              // once, when the call has ended
    std::function<void()> cancel_call;  // makes gRPC give up the call; runs before on_done
  };
  // `kv_heads`: of this rank.
  GenerateStream(engine::Engine* engine, int num_samples, const policy::KvHeads& kv_heads,
                 Callbacks callbacks);

  // Hands the request to the engine, or ends the call with its refusal.
  void Start(engine::GenerationRequest request);
  // Ends the call before it began.
  void Refuse(const absl::Status& status);
  // Also before Start. Unknown samples are ignored.
  void CancelSample(int sample_idx);

  // Engine thread.
  bool OnToken(const engine::TokenEvent& event) override;
  void OnFinish(const engine::FinishEvent& event) override;

  // gRPC threads.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void Enqueue(worker::v1::GenerateEvent event) SKV_REQUIRES(mutex_);
  void WriteNext() SKV_REQUIRES(mutex_);
  void MaybeFinish() SKV_REQUIRES(mutex_);

  engine::Engine* const engine_;
  const Callbacks callbacks_;
  const policy::KvHeads kv_heads_;
  policy::PolicyParams policy_;           // constant once the request is submitted
  std::shared_ptr<GenerateStream> self_;  // held until OnDone

  Mutex mutex_;
  std::deque<worker::v1::GenerateEvent> events_ SKV_GUARDED_BY(mutex_);
  engine::RequestId request_ SKV_GUARDED_BY(mutex_) = 0;  // 0: not submitted yet
  int samples_left_ SKV_GUARDED_BY(mutex_);
  std::vector<bool> cancelled_ SKV_GUARDED_BY(mutex_);  // samples, by CancelSample
  bool writing_ SKV_GUARDED_BY(mutex_) = false;
  bool broken_ SKV_GUARDED_BY(mutex_) = false;  // cancelled, or a write failed
  bool finished_ SKV_GUARDED_BY(mutex_) = false;
  absl::Status status_ SKV_GUARDED_BY(mutex_);
};

grpc::Status ToGrpc(const absl::Status& status);

}  // namespace skv::server
