#include "kvstore/grpc/watch_cursor.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::kvstore {

WatchCursor::WatchCursor(const StoreEpoch& epoch, const WatchPosition& position,
                         const EventFeed* feed)
    : epoch_(epoch), feed_(feed) {
  std::vector<EntryEvent> none;
  const uint64_t next = position.next_sequence;
  if (position.epoch == epoch && feed->Read(next, /*max_events=*/0, &none).ok()) {
    next_sequence_ = next;
  } else {
    takes_snapshot_ = true;
    page_begin_ = 0;
  }
}

std::optional<EntryIdx> WatchCursor::WantedPage() const {
  return page_.has_value() ? std::nullopt : page_begin_;
}

void WatchCursor::OnPage(SnapshotPage page) {
  SKV_CHECK(WantedPage().has_value());
  if (!next_sequence_.has_value()) next_sequence_ = page.sequence;
  page_ = std::move(page);
}

absl::StatusOr<std::optional<WatchMessage>> WatchCursor::Next(uint64_t end) {
  if (WantedPage().has_value()) return std::nullopt;
  if (page_.has_value() && *next_sequence_ == page_->sequence) return TakePage();
  if (page_.has_value()) return ReadEvents(page_->sequence);
  if (end <= *next_sequence_ && has_told_) return std::nullopt;
  return ReadEvents(std::max(end, *next_sequence_));
}

WatchMessage WatchCursor::TakePage() {
  WatchMessage message{.epoch = epoch_, .is_page = true};
  message.is_first = page_begin_ == EntryIdx{0};
  message.is_last = !page_->next.has_value();
  if (message.is_last) message.next_sequence = *next_sequence_;
  message.events = std::move(page_->entries);
  page_begin_ = page_->next;
  page_.reset();
  has_told_ = true;
  return message;
}

absl::StatusOr<WatchMessage> WatchCursor::ReadEvents(uint64_t end) {
  WatchMessage message{.epoch = epoch_, .first_sequence = *next_sequence_};
  const auto max_events =
      static_cast<uint32_t>(std::min<uint64_t>(kMaxEvents, end - *next_sequence_));
  const absl::Status status = feed_->Read(*next_sequence_, max_events, &message.events);
  if (absl::IsFailedPrecondition(status)) {
    return absl::ResourceExhaustedError(absl::StrCat("watch: read too slowly: ", lag(),
                                                     " events behind, the store keeps ",
                                                     feed_->capacity(), "; call again"));
  }
  SKV_RETURN_IF_ERROR(status);
  *next_sequence_ += message.events.size();
  if (!page_begin_.has_value()) message.next_sequence = *next_sequence_;
  has_told_ = true;
  return message;
}

uint64_t WatchCursor::lag() const {
  return next_sequence_.has_value() ? feed_->next_sequence() - *next_sequence_ : 0;
}

}  // namespace skv::kvstore
