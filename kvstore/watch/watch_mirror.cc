#include "kvstore/watch/watch_mirror.h"

#include "absl/strings/str_cat.h"

namespace skv::kvstore {

WatchPosition WatchMirror::BeginCall() {
  in_snapshot_ = false;
  expected_.reset();
  if (is_complete()) {
    expected_ = position_.next_sequence;
  } else {
    position_ = {};
  }
  return position_;
}

absl::Status WatchMirror::OnMessage(const WatchMessage& message) {
  absl::Status status = Check(message);
  if (!status.ok()) {
    position_ = {};
    in_snapshot_ = false;
    expected_.reset();
    return status;
  }
  if (message.is_page) {
    OnPage(message);
  } else {
    OnEvents(message);
  }
  return status;
}

absl::Status WatchMirror::Check(const WatchMessage& message) const {
  const bool begins = message.is_page && message.is_first;
  if (!begins && !in_snapshot_ && !is_complete()) {
    return absl::InvalidArgumentError("watch: expected the first page of a snapshot");
  }
  if (!begins && message.epoch != position_.epoch) {
    return absl::InvalidArgumentError("watch: got another epoch, expected a snapshot with it");
  }
  return message.is_page ? CheckPage(message) : CheckEvents(message);
}

absl::Status WatchMirror::CheckPage(const WatchMessage& page) const {
  if (!page.is_first && !in_snapshot_) {
    return absl::InvalidArgumentError("watch: got a page outside of a snapshot");
  }
  if (page.is_last != (page.next_sequence != 0)) {
    return absl::InvalidArgumentError("watch: the last page, and no other, tells where to go on");
  }
  if (page.is_first || !page.is_last || !expected_.has_value()) return absl::OkStatus();
  return CheckSequence(page.next_sequence);
}

absl::Status WatchMirror::CheckEvents(const WatchMessage& message) const {
  const uint64_t end = message.first_sequence + message.events.size();
  const uint64_t next = in_snapshot_ ? 0 : end;
  if (message.first_sequence == 0 || message.next_sequence != next) {
    return absl::InvalidArgumentError(
        absl::StrCat("watch: got ", message.events.size(), " events from ", message.first_sequence,
                     " on and next_sequence ", message.next_sequence, ", expected ", next));
  }
  return expected_.has_value() ? CheckSequence(message.first_sequence) : absl::OkStatus();
}

absl::Status WatchMirror::CheckSequence(uint64_t sequence) const {
  if (sequence == *expected_) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("watch: got event ", sequence, ", expected ", *expected_));
}

void WatchMirror::OnPage(const WatchMessage& page) {
  if (page.is_first) {
    position_ = {.epoch = page.epoch};
    in_snapshot_ = true;
    expected_.reset();
    listener_->OnSnapshotBegin(page.epoch);
  }
  for (const EntryEvent& entry : page.events) listener_->OnAdded(entry.key, entry.depth);
  if (!page.is_last) return;
  in_snapshot_ = false;
  position_.next_sequence = page.next_sequence;
  expected_ = page.next_sequence;
  listener_->OnSnapshotEnd();
}

void WatchMirror::OnEvents(const WatchMessage& message) {
  for (const EntryEvent& event : message.events) {
    if (event.kind == EntryEvent::Kind::kSealed) {
      listener_->OnAdded(event.key, event.depth);
    } else {
      listener_->OnRemoved(event.key);
    }
  }
  expected_ = message.first_sequence + message.events.size();
  if (!in_snapshot_) position_.next_sequence = *expected_;
}

}  // namespace skv::kvstore
