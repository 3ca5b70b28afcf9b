#include "kvstore/watch/watch_conversions.h"

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

EntryEvent Event(EntryEvent::Kind kind, uint8_t name) {
  EntryEvent event{.kind = kind, .depth = 3};
  event.key.prefix.bytes = {name, 0, 255};
  event.key.layout.bytes = {7, name};
  return event;
}

WatchMessage Page() {
  return {.epoch = {9, 8},
          .next_sequence = 5,
          .is_page = true,
          .is_last = true,
          .events = {Event(EntryEvent::Kind::kSealed, 1)}};
}

WatchMessage Events() {
  return {.epoch = {9, 8},
          .next_sequence = 6,
          .first_sequence = 4,
          .events = {Event(EntryEvent::Kind::kSealed, 1), Event(EntryEvent::Kind::kEvicted, 2)}};
}

TEST(WatchConversionsTest, MessagesSurviveTheWire) {
  WatchMessage first = Page();
  first.is_first = true;
  first.is_last = false;
  for (const WatchMessage& message : {Page(), first, Events()}) {
    EXPECT_EQ(FromProto(ToProto(message)).value(), message);
  }
}

TEST(WatchConversionsTest, PositionsSurviveTheWire) {
  for (const WatchPosition& position : {WatchPosition{}, WatchPosition{{1, 2}, 77}}) {
    EXPECT_EQ(FromProto(ToProto(position)).value(), position);
  }
}

TEST(WatchConversionsTest, WhatIsMalformedIsNamed) {
  v1::WatchRequest request;
  request.set_epoch("short");
  EXPECT_THAT(FromProto(request),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("epoch: got 5 bytes, expected 16")));
  v1::Key key = ToProto(EntryKey{});
  key.clear_layout();
  EXPECT_THAT(FromProto(key), StatusIs(StatusCode::kInvalidArgument, HasSubstr("key.layout")));
  v1::WatchResponse response = ToProto(Events());
  response.mutable_events()->mutable_events(0)->set_kind(v1::EntryEvent::KIND_UNSPECIFIED);
  EXPECT_THAT(FromProto(response), StatusIs(StatusCode::kInvalidArgument, HasSubstr("kind")));
  response.clear_body();
  EXPECT_THAT(FromProto(response), StatusIs(StatusCode::kInvalidArgument, HasSubstr("body")));
}

}  // namespace
}  // namespace skv::kvstore
