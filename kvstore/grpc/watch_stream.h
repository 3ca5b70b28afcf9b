#pragma once
// One Watch call: sends what its cursor says, one write in flight. All that it asks of gRPC it asks
// on the pump's thread (watch_pump.h); gRPC's callbacks and the store's answers only note what has
// happened and wake that thread.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "grpcpp/grpcpp.h"
#include "kvstore/grpc/watch_cursor.h"
#include "kvstore/server/command_queue.h"
#include "skv/kvstore/v1/kvstore.pb.h"

namespace skv::kvstore {

// Lives until the pump, gRPC and the store have let go of it.
class WatchStream : public grpc::ServerWriteReactor<v1::WatchResponse>,
                    public std::enable_shared_from_this<WatchStream> {
 public:
  // A write that takes longer ends the call with CANCELLED.
  static constexpr Duration kMaxWriteTime = std::chrono::seconds(60);

  // `context` is the call's; the others outlive this object.
  WatchStream(WatchCursor cursor, grpc::CallbackServerContext* context, EventFeed* feed,
              CommandQueue* commands);
  // Before gRPC can call back.
  void Start() { self_ = shared_from_this(); }

  // Pump's thread. Does what can be done now, and tells of events before `end_sequence`; `end`,
  // where it is not OK, ends the call.
  void Advance(TimePoint now, uint64_t end_sequence, const absl::Status& end);

  // gRPC is done with it.
  bool is_done() const { return is_done_; }
  bool takes_snapshot() const { return takes_snapshot_; }
  // It ended because its reader fell behind the log.
  bool was_too_slow() const { return was_too_slow_; }
  // Events that it has not taken yet; 0 before the first Advance. Any thread.
  uint64_t lag() const;

  // gRPC's threads.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  static constexpr uint64_t kNothingTaken = UINT64_MAX;

  enum class Action { kNone, kWrite, kFinish, kCancel, kReadPage };
  Action NextLocked(TimePoint now, uint64_t end_sequence, const absl::Status& end)
      SKV_REQUIRES(mutex_);
  Action NextMessageLocked(TimePoint now, uint64_t end_sequence) SKV_REQUIRES(mutex_);
  Action FinishLocked(const absl::Status& status) SKV_REQUIRES(mutex_);
  void ReadPage();
  void OnPage(absl::StatusOr<SnapshotPage> page);

  grpc::CallbackServerContext* const context_;
  EventFeed* const feed_;
  CommandQueue* const commands_;
  const bool takes_snapshot_;
  std::shared_ptr<WatchStream> self_;  // until OnDone
  std::atomic<bool> is_done_{false};
  std::atomic<bool> was_too_slow_{false};
  std::atomic<uint64_t> taken_until_{kNothingTaken};  // as of the last Advance

  // Of the pump's thread.
  WatchCursor cursor_;
  v1::WatchResponse message_;  // being written
  absl::Status status_;        // that the call ends with
  TimePoint write_began_;
  bool is_finished_ = false;   // Finish was asked for
  bool is_cancelled_ = false;  // TryCancel was

  Mutex mutex_;
  bool is_writing_ SKV_GUARDED_BY(mutex_) = false;
  bool is_broken_ SKV_GUARDED_BY(mutex_) = false;    // cancelled, or a write failed
  bool awaits_page_ SKV_GUARDED_BY(mutex_) = false;  // the store has been asked
  std::optional<absl::StatusOr<SnapshotPage>> page_ SKV_GUARDED_BY(mutex_);  // its answer
};

}  // namespace skv::kvstore
