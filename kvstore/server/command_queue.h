#pragma once
// What other threads want of the store, for the thread that owns it: a bounded queue of commands,
// which that thread runs one by one between the requests of sessions. A command must be short: no
// more than the largest request of a session takes. What takes longer is cut into commands, each of
// which submits the next, so that others have their turn in between.
//
// Each command that was taken is called exactly once: on the owner's thread with what it may do
// there, or, wherever Close runs, with an error. Thread-safe.

#include <cstdint>
#include <deque>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "kvstore/server/store_admin.h"
#include "kvstore/session/descriptor.h"

namespace skv::kvstore {

class CommandQueue {
 public:
  // Called with
  //   DeadlineExceeded  its turn came too late
  //   Unavailable       the owner has stopped
  using Command = std::function<void(absl::StatusOr<StoreAdmin*>)>;

  // Refuses all commands until Open.
  explicit CommandQueue(size_t capacity);
  CommandQueue(const CommandQueue&) = delete;
  CommandQueue& operator=(const CommandQueue&) = delete;

  // Also from within a command. The command is not called when it was refused:
  //   ResourceExhausted  `capacity` commands wait
  //   Unavailable        not open
  absl::Status Submit(TimePoint deadline, Command command);
  // The same without a deadline, and also when `capacity` commands wait: for what gives something
  // back to the store. The caller bounds how many there are. Unavailable: not open.
  absl::Status SubmitRelease(Command command);

  // The owner's: takes commands from now on, and no more.
  void Open();
  void Close();
  // Runs the command that came first; false when there is none.
  bool RunNext(TimePoint now, StoreAdmin* admin);
  // Readable while a command waits. -1: no descriptor was left.
  int fd() const { return event_.get(); }

  size_t size() const;
  size_t capacity() const { return capacity_; }

 private:
  struct Item {
    TimePoint deadline;
    Command command;
  };
  void Push(TimePoint deadline, Command command) SKV_REQUIRES(mutex_);
  absl::Status CheckOpen() const SKV_REQUIRES(mutex_);

  const size_t capacity_;
  const Descriptor event_;
  mutable Mutex mutex_;
  bool is_open_ SKV_GUARDED_BY(mutex_) = false;
  std::deque<Item> items_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::kvstore
