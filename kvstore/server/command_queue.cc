#include "kvstore/server/command_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {

CommandQueue::CommandQueue(size_t capacity)
    : capacity_(capacity), event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

absl::Status CommandQueue::Submit(TimePoint deadline, Command command) {
  const MutexLock lock(&mutex_);
  SKV_RETURN_IF_ERROR(CheckOpen());
  if (items_.size() >= capacity_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the store has ", capacity_, " commands waiting, its most"));
  }
  Push(deadline, std::move(command));
  return absl::OkStatus();
}

absl::Status CommandQueue::SubmitRelease(Command command) {
  const MutexLock lock(&mutex_);
  SKV_RETURN_IF_ERROR(CheckOpen());
  Push(TimePoint::max(), std::move(command));
  return absl::OkStatus();
}

absl::Status CommandQueue::CheckOpen() const {
  if (is_open_) return absl::OkStatus();
  return absl::UnavailableError("the store is starting or stopping");
}

void CommandQueue::Push(TimePoint deadline, Command command) {
  items_.push_back({deadline, std::move(command)});
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(event_.get(), &one, sizeof(one));
}

void CommandQueue::Open() {
  const MutexLock lock(&mutex_);
  is_open_ = true;
}

void CommandQueue::Close() {
  std::deque<Item> items;
  {
    const MutexLock lock(&mutex_);
    is_open_ = false;
    items.swap(items_);
  }
  for (const Item& item : items) item.command(absl::UnavailableError("the store is stopping"));
}

bool CommandQueue::RunNext(TimePoint now, StoreAdmin* admin) {
  Item item;
  {
    const MutexLock lock(&mutex_);
    if (items_.empty()) return false;
    item = std::move(items_.front());
    items_.pop_front();
    uint64_t count = 0;
    if (items_.empty()) {
      [[maybe_unused]] const ssize_t got = read(event_.get(), &count, sizeof(count));
    }
  }
  if (now >= item.deadline) {
    item.command(absl::DeadlineExceededError("the store did not come to it in time"));
  } else {
    item.command(admin);
  }
  return true;
}

size_t CommandQueue::size() const {
  const MutexLock lock(&mutex_);
  return items_.size();
}

}  // namespace skv::kvstore
