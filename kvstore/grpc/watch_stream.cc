#include "kvstore/grpc/watch_stream.h"

#include <utility>

#include "kvstore/grpc/conversions.h"
#include "kvstore/watch/watch_conversions.h"

namespace skv::kvstore {
namespace {

constexpr auto kMaxPageTime = std::chrono::seconds(10);

}  // namespace

WatchStream::WatchStream(WatchCursor cursor, grpc::CallbackServerContext* context, EventFeed* feed,
                         CommandQueue* commands)
    : context_(context),
      feed_(feed),
      commands_(commands),
      takes_snapshot_(cursor.takes_snapshot()),
      cursor_(std::move(cursor)) {}

// Outside of the lock, since gRPC may call back from there.
void WatchStream::Advance(TimePoint now, uint64_t end_sequence, const absl::Status& end) {
  Action action = Action::kNone;
  {
    const MutexLock lock(&mutex_);
    action = NextLocked(now, end_sequence, end);
  }
  taken_until_ = cursor_.next_sequence().value_or(kNothingTaken);
  switch (action) {
    case Action::kNone:
      return;
    case Action::kWrite:
      return StartWrite(&message_);
    case Action::kFinish:
      return Finish(ToGrpcStatus(status_));
    case Action::kCancel:
      return context_->TryCancel();
    case Action::kReadPage:
      return ReadPage();
  }
}

// Against what there is now: a pump that waits for a processor must not look as if it kept up.
uint64_t WatchStream::lag() const {
  const uint64_t taken_until = taken_until_;
  return taken_until == kNothingTaken ? 0 : feed_->next_sequence() - taken_until;
}

WatchStream::Action WatchStream::NextLocked(TimePoint now, uint64_t end_sequence,
                                            const absl::Status& end) {
  if (is_finished_) return Action::kNone;
  if (is_writing_) {
    if (is_cancelled_ || now - write_began_ < kMaxWriteTime) return Action::kNone;
    is_cancelled_ = true;
    return Action::kCancel;
  }
  if (is_broken_) return FinishLocked(absl::CancelledError("the caller went away"));
  if (!end.ok()) return FinishLocked(end);
  if (awaits_page_) return Action::kNone;
  if (page_.has_value()) {
    if (!page_->ok()) return FinishLocked(page_->status());
    cursor_.OnPage(**std::move(page_));
    page_.reset();
  }
  if (cursor_.WantedPage().has_value()) {
    awaits_page_ = true;
    return Action::kReadPage;
  }
  return NextMessageLocked(now, end_sequence);
}

WatchStream::Action WatchStream::NextMessageLocked(TimePoint now, uint64_t end_sequence) {
  const absl::StatusOr<std::optional<WatchMessage>> next = cursor_.Next(end_sequence);
  if (!next.ok()) {
    was_too_slow_ = absl::IsResourceExhausted(next.status());
    return FinishLocked(next.status());
  }
  if (!next->has_value()) return Action::kNone;
  message_ = ToProto(**next);
  is_writing_ = true;
  write_began_ = now;
  return Action::kWrite;
}

WatchStream::Action WatchStream::FinishLocked(const absl::Status& status) {
  is_finished_ = true;
  status_ = status;
  return Action::kFinish;
}

void WatchStream::ReadPage() {
  const auto read = [self = shared_from_this(),
                     begin = *cursor_.WantedPage()](absl::StatusOr<StoreAdmin*> admin) {
    self->OnPage(admin.ok() ? absl::StatusOr<SnapshotPage>((*admin)->ReadSnapshot(begin))
                            : admin.status());
  };
  const absl::Status submitted = commands_->Submit(RealClock().Now() + kMaxPageTime, read);
  if (!submitted.ok()) OnPage(submitted);
}

void WatchStream::OnPage(absl::StatusOr<SnapshotPage> page) {
  {
    const MutexLock lock(&mutex_);
    awaits_page_ = false;
    page_ = std::move(page);
  }
  feed_->Wake();
}

void WatchStream::OnWriteDone(bool ok) {
  {
    const MutexLock lock(&mutex_);
    is_writing_ = false;
    is_broken_ = is_broken_ || !ok;
  }
  feed_->Wake();
}

void WatchStream::OnCancel() {
  {
    const MutexLock lock(&mutex_);
    is_broken_ = true;
  }
  feed_->Wake();
}

void WatchStream::OnDone() {
  const std::shared_ptr<WatchStream> self = std::move(self_);
  is_done_ = true;
  feed_->Wake();
}

}  // namespace skv::kvstore
