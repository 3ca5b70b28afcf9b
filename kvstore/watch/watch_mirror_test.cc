#include "kvstore/watch/watch_mirror.h"

#include <string>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr StoreEpoch kEpoch = {1}, kOtherEpoch = {2};

EntryEvent Sealed(uint8_t name) {
  EntryEvent event{.depth = uint32_t{name} * 16};
  event.key.prefix.bytes[0] = name;
  return event;
}
EntryEvent Evicted(uint8_t name) {
  EntryEvent event = Sealed(name);
  event.kind = EntryEvent::Kind::kEvicted;
  return event;
}

// Writes down what it hears: "begin", "+1", "-1", "end".
class Notes : public WatchListener {
 public:
  void OnSnapshotBegin(const StoreEpoch& epoch) override {
    notes_.push_back("begin");
    epoch_ = epoch;
  }
  void OnAdded(const EntryKey& key, uint32_t depth) override {
    EXPECT_EQ(depth, key.prefix.bytes[0] * 16u);
    notes_.push_back("+" + std::to_string(key.prefix.bytes[0]));
  }
  void OnRemoved(const EntryKey& key) override {
    notes_.push_back("-" + std::to_string(key.prefix.bytes[0]));
  }
  void OnSnapshotEnd() override { notes_.push_back("end"); }

  const StoreEpoch& epoch() const { return epoch_; }
  std::vector<std::string> Take() { return std::exchange(notes_, {}); }

 private:
  std::vector<std::string> notes_;
  StoreEpoch epoch_ = {};
};

class WatchMirrorTest : public testing::Test {
 protected:
  static WatchMessage Page(bool is_first, uint64_t next_sequence, std::vector<EntryEvent> entries) {
    return {.epoch = kEpoch,
            .next_sequence = next_sequence,
            .is_page = true,
            .is_first = is_first,
            .is_last = next_sequence != 0,
            .events = std::move(entries)};
  }
  static WatchMessage Events(uint64_t first_sequence, std::vector<EntryEvent> events,
                             bool in_snapshot = false) {
    const uint64_t next = in_snapshot ? 0 : first_sequence + events.size();
    return {.epoch = kEpoch,
            .next_sequence = next,
            .first_sequence = first_sequence,
            .events = std::move(events)};
  }
  // A complete mirror of entry 1, with event 7 to come.
  void Complete() {
    EXPECT_EQ(mirror_.BeginCall(), WatchPosition{});
    EXPECT_OK(mirror_.OnMessage(Page(true, 7, {Sealed(1)})));
    EXPECT_THAT(notes_.Take(), ElementsAre("begin", "+1", "end"));
    EXPECT_EQ(notes_.epoch(), kEpoch);
  }

  Notes notes_;
  WatchMirror mirror_{&notes_};
};

TEST_F(WatchMirrorTest, ASnapshotInPagesWithEventsBetweenThem) {
  mirror_.BeginCall();
  EXPECT_OK(mirror_.OnMessage(Page(true, 0, {Sealed(1), Sealed(2)})));
  EXPECT_OK(mirror_.OnMessage(Events(5, {Evicted(1), Sealed(3)}, /*in_snapshot=*/true)));
  EXPECT_FALSE(mirror_.is_complete());
  EXPECT_OK(mirror_.OnMessage(Page(false, 7, {Sealed(3)})));
  EXPECT_TRUE(mirror_.is_complete());
  EXPECT_OK(mirror_.OnMessage(Events(7, {Sealed(4)})));
  EXPECT_THAT(notes_.Take(), ElementsAre("begin", "+1", "+2", "-1", "+3", "+3", "end", "+4"));
}

TEST_F(WatchMirrorTest, GoesOnWhereACallEnded) {
  Complete();
  EXPECT_OK(mirror_.OnMessage(Events(7, {Sealed(2)})));
  const WatchPosition position = mirror_.BeginCall();
  EXPECT_EQ(position, (WatchPosition{kEpoch, 8}));
  EXPECT_OK(mirror_.OnMessage(Events(8, {})));
  EXPECT_OK(mirror_.OnMessage(Events(8, {Evicted(1)})));
  EXPECT_THAT(notes_.Take(), ElementsAre("+2", "-1"));
}

TEST_F(WatchMirrorTest, ASnapshotThatWasCutOffBeginsAnew) {
  mirror_.BeginCall();
  EXPECT_OK(mirror_.OnMessage(Page(true, 0, {Sealed(1)})));
  EXPECT_EQ(mirror_.BeginCall(), WatchPosition{});
  EXPECT_THAT(mirror_.OnMessage(Page(false, 7, {Sealed(2)})),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("first page")));
  EXPECT_OK(mirror_.OnMessage(Page(true, 9, {Sealed(2)})));
  EXPECT_THAT(notes_.Take(), ElementsAre("begin", "+1", "begin", "+2", "end"));
}

TEST_F(WatchMirrorTest, AnotherEpochComesWithASnapshot) {
  Complete();
  mirror_.BeginCall();
  WatchMessage page = Page(true, 1, {Sealed(5)});
  page.epoch = kOtherEpoch;
  EXPECT_OK(mirror_.OnMessage(page));
  EXPECT_EQ(mirror_.BeginCall(), (WatchPosition{kOtherEpoch, 1}));
  EXPECT_THAT(notes_.Take(), ElementsAre("begin", "+5", "end"));
  EXPECT_EQ(notes_.epoch(), kOtherEpoch);
}

TEST_F(WatchMirrorTest, WhatCannotFollowIsRefusedUnheardAndBringsASnapshot) {
  WatchMessage other_epoch = Events(7, {});
  other_epoch.epoch = kOtherEpoch;
  WatchMessage wrong_next = Events(7, {Sealed(2)});
  wrong_next.next_sequence = 9;
  WatchMessage says_too_much = Page(true, 0, {Sealed(2)});
  says_too_much.next_sequence = 9;
  const struct {
    const char* why;
    WatchMessage message;
    const char* error;
  } kCases[] = {{"a gap", Events(8, {Sealed(2)}), "got event 8, expected 7"},
                {"a repetition", Events(6, {Sealed(2)}), "got event 6, expected 7"},
                {"no number", Events(0, {}), "next_sequence 0"},
                {"another epoch", other_epoch, "another epoch"},
                {"a wrong number", wrong_next, "next_sequence 9, expected 8"},
                {"a page of no snapshot", Page(false, 0, {Sealed(2)}), "outside of a snapshot"},
                {"not the last page", says_too_much, "tells where to go on"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    Complete();
    EXPECT_THAT(mirror_.OnMessage(c.message),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr(c.error)));
    EXPECT_THAT(notes_.Take(), IsEmpty());
    EXPECT_FALSE(mirror_.is_complete());
  }
}

TEST_F(WatchMirrorTest, AGapWithinASnapshotIsRefused) {
  mirror_.BeginCall();
  EXPECT_OK(mirror_.OnMessage(Page(true, 0, {})));
  EXPECT_OK(mirror_.OnMessage(Events(5, {Sealed(1)}, /*in_snapshot=*/true)));
  EXPECT_THAT(mirror_.OnMessage(Page(false, 7, {})),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("got event 7, expected 6")));
}

}  // namespace
}  // namespace skv::kvstore
