// Samples that go on with another group after the first token: the client sees one stream.

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/relay_testing.h"

namespace skv::router {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kHello[] = "h\xc3\xa9llo \xe2\x82\xac.";
constexpr int32_t kSentence = 4;  // tokens of a generated sentence

// What one sample shows its client in the end.
struct Shown {
  std::string text;
  std::vector<TokenId> token_ids;
  std::vector<float> logprobs;
  std::vector<std::pair<int, int>> explained;
  std::optional<FinishReason> finish;
  std::optional<std::string> stop_string;
  std::optional<TokenId> stop_token_id;
  int64_t generated_positions = 0;
  int num_finishes = 0;
  bool operator==(const Shown&) const = default;
};

Shown Join(const std::vector<Event>& events, int32_t sample_idx = 0) {
  Shown shown;
  for (const Event& event : events) {
    if (event.sample_idx != sample_idx) continue;
    shown.text += event.text;
    for (const EventToken& token : event.tokens) {
      shown.token_ids.push_back(token.id);
      shown.logprobs.push_back(token.logprob.value_or(1));
    }
    for (const EventExplanation& explanation : event.explanations) {
      shown.explained.emplace_back(explanation.token_begin, explanation.token_end);
    }
    if (event.kv_report) shown.generated_positions = event.kv_report->generated_positions;
    if (!event.finish.has_value()) continue;
    ++shown.num_finishes;
    shown.finish = event.finish->reason;
    shown.stop_string = event.finish->stop_string;
    shown.stop_token_id = event.finish->stop_token_id;
  }
  return shown;
}

// The events of a worker that would generate `script`, as a real one sends them: what the request
// resumes is replayed, an event a token, sentences are explained once they have ended, and the
// finish comes by itself.
std::vector<GroupEvent> EventsOf(const GroupRequest& request, std::string_view script,
                                 FinishReason finish, int32_t sample_idx = 0) {
  std::vector<GroupEvent> events;
  int32_t explained = 0;
  const auto explain = [&](int32_t until, GroupEvent* event) {
    if (request.explain_top > 0) event->explanations.push_back({explained, until, {{0, 1, 1, 1}}});
    explained = until;
  };
  const int32_t size = static_cast<int32_t>(script.size());
  for (int32_t i = static_cast<int32_t>(request.resume_ids.size()); i < size; ++i) {
    GroupEvent event{.sample_idx = sample_idx,
                     .tokens = {{.id = static_cast<unsigned char>(script[i]),
                                 .logprob = -0.25f * static_cast<float>(i)}}};
    if (events.empty()) {
      event.cached_tokens = static_cast<int64_t>(3 + request.resume_ids.size());
      event.timings = WorkerTimings{.queue_ms = 1.0 + request.resume_ids.size(), .prefill_ms = 2};
    }
    while (explained + kSentence <= i) explain(explained + kSentence, &event);
    events.push_back(std::move(event));
  }
  GroupEvent last{.sample_idx = sample_idx,
                  .finish = GroupFinish{finish, ""},
                  .kv_report = KvReport{.generated_positions = size - 1}};
  explain(size, &last);
  events.push_back(std::move(last));
  return events;
}

class RelayMigrationTest : public RelayTest {
 protected:
  static Request Explained(std::vector<std::string> stop = {}) {
    Request request = MakeRequest();
    request.max_tokens = 100;
    request.logprobs = true;
    request.explain = true;
    request.stop = std::move(stop);
    return request;
  }
  // The group with the newest unfinished stream; "" when there is none.
  std::vector<std::string> Serving() {
    std::vector<std::string> serving;
    for (const char* address : {"a:1", "b:2", "c:3"}) {
      if (Outstanding(address) > 0) serving.push_back(address);
    }
    return serving;
  }
  FakeGroupStream& Now() { return Stream(Serving().at(0)); }
  static void Lose(FakeGroupStream& stream) {
    stream.handler->OnDone(absl::UnavailableError("socket closed"));
  }
  // Plays `script` through groups that are lost after so many events each; the last one is not.
  Shown Play(const Request& request, std::string_view script, FinishReason finish,
             const std::vector<size_t>& cuts) {
    Open({});
    EXPECT_OK(Generate(request));
    for (const size_t cut : cuts) {
      FakeGroupStream& stream = Now();
      const std::vector<GroupEvent> events = EventsOf(stream.request, script, finish);
      for (size_t i = 0; i < std::min(cut, events.size()); ++i) stream.handler->OnEvent(events[i]);
      if (client_->num_finishes > 0) return Join(client_->events);
      Lose(stream);
    }
    FakeGroupStream& stream = Now();
    for (const GroupEvent& event : EventsOf(stream.request, script, finish)) {
      stream.handler->OnEvent(event);
    }
    return Join(client_->events);
  }
  int64_t AllOutstanding() { return Outstanding("a:1") + Outstanding("b:2") + Outstanding("c:3"); }
};

TEST_F(RelayMigrationTest, ALossAfterAnyEventIsNotSeen) {
  const struct {
    const char* why;
    std::string script;
    FinishReason finish;
    std::vector<std::string> stop;
  } kCases[] = {
      {"length", kHello, FinishReason::kLength, {}},
      {"end token", std::string(kHello) + "!", FinishReason::kStop, {}},
      {"cut character at the end", "ab\xc3", FinishReason::kLength, {}},
      {"stop string", "one STOP two", FinishReason::kLength, {"STOP"}},
      {"half a stop string at the end", "one STO", FinishReason::kLength, {"STOP"}},
      {"one token", "x", FinishReason::kLength, {}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    const Request request = Explained(c.stop);
    const Shown want = Play(request, c.script, c.finish, {});
    const Event last = client_->events.back();
    for (size_t cut = 1; cut <= c.script.size(); ++cut) {
      SCOPED_TRACE(cut);
      EXPECT_EQ(Play(request, c.script, c.finish, {cut}), want);
      EXPECT_OK(client_->status);
      EXPECT_EQ(client_->num_finishes, 1);
      const Usage& usage = client_->events.back().usage.value();
      EXPECT_EQ(usage.prompt_tokens, 5);
      EXPECT_EQ(usage.completion_tokens, last.usage->completion_tokens);
      EXPECT_EQ(usage.cached_tokens, 3);
      const Timings& timings = client_->events.back().timings.value();
      EXPECT_EQ(timings.worker.queue_ms, 1);
      EXPECT_EQ(timings.num_retries, 0);
      EXPECT_LE(timings.num_migrations, 1);
      EXPECT_EQ(AllOutstanding(), 0);
    }
  }
}

TEST_F(RelayMigrationTest, EveryCutOfTwoGroupsIsNotSeen) {
  const Request request = Explained();
  const Shown want = Play(request, kHello, FinishReason::kLength, {});
  const size_t num_events = std::string_view(kHello).size();
  for (size_t first = 1; first <= num_events; ++first) {
    for (size_t second = 0; second <= num_events; ++second) {
      EXPECT_EQ(Play(request, kHello, FinishReason::kLength, {first, second}), want)
          << first << ", " << second;
    }
  }
}

TEST_F(RelayMigrationTest, TheNextGroupGetsThePromptAndAllTokensButTheLast) {
  Request request = MakeRequest();
  request.seed = 7;
  request.max_tokens = 5;
  ASSERT_OK(Generate(request));
  Stream("a:1").Send("abc");
  Lose(Stream("a:1"));
  const GroupRequest& first = Stream("a:1").request;
  const GroupRequest& next = Now().request;
  EXPECT_EQ(next.prompt_ids, first.prompt_ids);
  EXPECT_THAT(next.resume_ids, ElementsAre('a', 'b'));
  EXPECT_EQ(next.max_tokens, 5);
  EXPECT_EQ(next.seeds, first.seeds);
  EXPECT_NE(next.request_id, first.request_id);
  EXPECT_EQ(Outstanding("a:1"), 0);
  EXPECT_EQ(AllOutstanding(), 10);
  Now().Send("c");
  EXPECT_EQ(AllOutstanding(), 2);
  EXPECT_EQ(client_->text, "abc");
  FakeGroupStream& last = Now();
  last.Send("de");
  EXPECT_EQ(AllOutstanding(), 0);
  last.SendFinish(FinishReason::kLength);
  EXPECT_EQ(client_->text, "abcde");
  EXPECT_EQ(stats_.at(0).migrations.of(MigrationReason::kLost), 1);
  EXPECT_EQ(stats_.at(0).num_retries, 0);
  EXPECT_EQ(stats_.at(0).usage.completion_tokens, 5);
}

TEST_F(RelayMigrationTest, WhatAGroupThatWasLeftStillSaysIsNotHeard) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Lose(Stream("a:1"));
  Stream("a:1").Send("x");
  Now().Send("ab");
  Stream("a:1").Send("y");
  Stream("a:1").handler->OnDone(absl::UnavailableError("twice"));
  Now().SendFinish(FinishReason::kStop);
  EXPECT_EQ(client_->text, "ab");
  EXPECT_OK(client_->status);
}

TEST_F(RelayMigrationTest, AGroupThatGoesOnInAnotherWayEndsTheStreamInternal) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("ab");
  Lose(Stream("a:1"));
  Now().Send("x");
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kInternal, HasSubstr("arithmetic is not")));
  EXPECT_EQ(client_->text, "ab");
}

TEST_F(RelayMigrationTest, SamplesGoOnEachForItself) {
  Request request = MakeRequest();
  request.n = 3;
  request.seed = 40;
  request.stop = {"."};
  ASSERT_OK(Generate(request));
  FakeGroupStream& first = Stream("a:1");
  first.Send("ab", 0);
  first.SendFinish(FinishReason::kLength, 0);
  first.Send("cd", 1);
  Lose(first);  // the last sample has no token yet

  std::vector<FakeGroupStream*> moved;
  for (const char* address : {"b:2", "c:3"}) {
    for (const auto& stream : groups_[address].streams) moved.push_back(stream.get());
  }
  ASSERT_EQ(moved.size(), 2u);
  if (moved[0]->request.resume_ids.empty()) std::swap(moved[0], moved[1]);
  EXPECT_THAT(moved[0]->request.resume_ids, ElementsAre('c'));
  EXPECT_THAT(moved[0]->request.seeds, ElementsAre(first.request.seeds[1]));
  EXPECT_THAT(moved[1]->request.seeds, ElementsAre(first.request.seeds[2]));
  EXPECT_NE(moved[0]->request.request_id, moved[1]->request.request_id);

  moved[1]->Send("ef", 0);
  moved[0]->Send("d.", 0);
  EXPECT_TRUE(moved[0]->cancelled);
  EXPECT_FALSE(moved[1]->cancelled);
  EXPECT_EQ(client_->num_finishes, 0);
  moved[1]->SendFinish(FinishReason::kStop, 0);
  EXPECT_OK(client_->status);
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_FALSE(moved[1]->cancelled);
  EXPECT_EQ(Join(client_->events, 0).text, "ab");
  EXPECT_EQ(Join(client_->events, 1).text, "cd");
  EXPECT_EQ(Join(client_->events, 2).text, "ef");
  EXPECT_EQ(client_->events.back().usage->completion_tokens, 7);
  EXPECT_EQ(client_->events.back().timings->num_migrations, 2);
  EXPECT_EQ(AllOutstanding(), 0);
}

TEST_F(RelayMigrationTest, AStopStringOfOneSampleOfTheFirstGroupIsToldToThatGroup) {
  Request request = MakeRequest();
  request.n = 3;
  request.stop = {"."};
  ASSERT_OK(Generate(request));
  FakeGroupStream& first = Stream("a:1");
  first.Send("a", 0);
  first.Send("b.", 2);
  EXPECT_THAT(groups_["a:1"].cancelled_samples, ElementsAre(2));
  EXPECT_THAT(groups_["a:1"].cancelled_in, ElementsAre(first.request.request_id));
  Lose(first);
  EXPECT_EQ(groups_["b:2"].streams.size() + groups_["c:3"].streams.size(), 2u);
}

TEST_F(RelayMigrationTest, ASampleThatIsLostAgainMovesAndTheOthersStay) {
  Request request = MakeRequest();
  request.n = 2;
  ASSERT_OK(Generate(request));
  Stream("a:1").Send("a", 0);
  Stream("a:1").Send("b", 1);
  Lose(Stream("a:1"));
  const std::string second = Serving().at(0), third = second == "b:2" ? "c:3" : "b:2";
  ASSERT_EQ(groups_[second].streams.size(), 2u);
  const auto staying = groups_[second].streams[0], leaving = groups_[second].streams[1];
  leaving->handler->OnDone(absl::AbortedError("step failed"));
  ASSERT_EQ(groups_[third].streams.size(), 1u);
  Stream(third).Send("bd");
  Stream(third).SendFinish(FinishReason::kStop);
  staying->Send("ac");
  EXPECT_FALSE(staying->cancelled);
  EXPECT_EQ(client_->num_finishes, 0);
  staying->SendFinish(FinishReason::kStop);
  EXPECT_OK(client_->status);
  EXPECT_EQ(Join(client_->events, 0).text, "ac");
  EXPECT_EQ(Join(client_->events, 1).text, "bd");
  EXPECT_EQ(client_->events.back().timings->num_migrations, 3);
}

TEST_F(RelayMigrationTest, WithoutAnotherGroupTheReasonIsTold) {
  LeaveOnly("a:1");
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Stream("a:1").handler->OnDone(absl::AbortedError("step failed"));
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("worker group a:1: step failed"),
                             HasSubstr("no other healthy worker group of numerics_id numerics"))));
  EXPECT_EQ(stats_.at(0).migrations.total(), 0);
}

TEST_F(RelayMigrationTest, AGroupOfOtherArithmeticOrModelDoesNotGoOn) {
  for (const char* other : {"b:2", "c:3"}) {
    groups_[other].info->numerics_id = "numerics of two ranks";
    groups_[other].probe->load.epoch = 2;
  }
  clock_.Advance(seconds(1));
  Settle();
  ASSERT_EQ(membership_->snapshot()->num_healthy_groups(), 3);
  while (groups_["a:1"].streams.empty()) {
    client_ = std::make_shared<RecordingClient>();
    ASSERT_OK(Generate(MakeRequest()));
  }
  Stream("a:1").Send("a");
  Lose(Stream("a:1"));
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("numerics_id numerics,")));
  EXPECT_EQ(Outstanding("a:1"), 0);
}

TEST_F(RelayMigrationTest, BeforeTheFirstTokenAnyArithmeticWillDo) {
  for (const char* other : {"b:2", "c:3"}) {
    groups_[other].info->numerics_id = "numerics of two ranks";
    groups_[other].probe->load.epoch = 2;
  }
  clock_.Advance(seconds(1));
  Settle();
  for (const char* address : {"a:1", "b:2"}) {
    groups_[address].refusal = absl::UnavailableError("connection refused");
  }
  ASSERT_OK(Generate(MakeRequest()));
  Stream("c:3").Send("a");
  Stream("c:3").SendFinish(FinishReason::kStop);
  EXPECT_OK(client_->status);
  EXPECT_EQ(client_->events.front().numerics_id, "numerics of two ranks");
}

TEST_F(RelayMigrationTest, WhatAnotherGroupCannotCureEndsTheStream) {
  for (const absl::Status& end :
       {absl::InvalidArgumentError("no"), absl::DeadlineExceededError("late"),
        absl::ResourceExhaustedError("events unread"), absl::InternalError("bug")}) {
    SCOPED_TRACE(end.ToString());
    Open({});
    ASSERT_OK(Generate(MakeRequest()));
    Stream("a:1").Send("a");
    Stream("a:1").handler->OnDone(end);
    EXPECT_EQ(client_->status.code(), end.code());
    EXPECT_EQ(stats_.at(0).migrations.total(), 0);
  }
}

TEST_F(RelayMigrationTest, AGroupWithoutRoomForTheSampleIsPassedOver) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Lose(Stream("a:1"));
  Now().handler->OnDone(absl::ResourceExhaustedError("queue full"));
  Now().Send("ab");
  Now().SendFinish(FinishReason::kStop);
  EXPECT_EQ(client_->text, "ab");
  EXPECT_EQ(stats_.at(0).migrations.of(MigrationReason::kLost), 1);
  EXPECT_EQ(stats_.at(0).migrations.of(MigrationReason::kRefused), 1);
  EXPECT_EQ(client_->events.back().timings->num_migrations, 2);
}

TEST_F(RelayMigrationTest, TheNumberOfMovesHasALimit) {
  Open({.max_migrations = 1});
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Lose(Stream("a:1"));
  Now().Send("ab");
  Lose(Now());
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("socket closed")));
  EXPECT_EQ(stats_.at(0).migrations.total(), 1);
}

TEST_F(RelayMigrationTest, NoneIsTheOldWay) {
  Open({.max_migrations = 0});
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Lose(Stream("a:1"));
  EXPECT_THAT(client_->status, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("a:1")));
  EXPECT_EQ(AllOutstanding(), 0);
}

TEST_F(RelayMigrationTest, AWorkerThatRestartedMayBeTriedAgain) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  for (const char* other : {"b:2", "c:3"}) groups_[other].refusal = absl::UnavailableError("down");
  groups_["a:1"].probe->load.epoch = 2;
  clock_.Advance(seconds(1));
  Settle();
  Lose(Stream("a:1"));
  ASSERT_EQ(groups_["a:1"].streams.size(), 2u);
  Stream("a:1").Send("ab");
  Stream("a:1").SendFinish(FinishReason::kStop);
  EXPECT_EQ(client_->text, "ab");
}

TEST_F(RelayMigrationTest, WhereAllWereTriedOneThatHasRecoveredGoesOn) {
  groups_["c:3"].probe = absl::UnavailableError("connection refused");
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Lose(Stream("a:1"));
  Stream("b:2").Send("ab");
  clock_.Advance(seconds(1));
  Settle();
  Lose(Stream("b:2"));
  ASSERT_EQ(groups_["a:1"].streams.size(), 2u);
  Stream("a:1").Send("bc");
  Stream("a:1").SendFinish(FinishReason::kStop);
  EXPECT_OK(client_->status);
  EXPECT_EQ(client_->text, "abc");
}

TEST_F(RelayMigrationTest, AStoppedGroupIsLeftAfterTheStallTimeout) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  groups_["a:1"].silent = true;
  for (int i = 0; i < 13; ++i) {
    EXPECT_FALSE(Stream("a:1").cancelled);
    clock_.Advance(milliseconds(250));
    Settle();
  }
  EXPECT_TRUE(Stream("a:1").cancelled);
  Now().Send("ab");
  Now().SendFinish(FinishReason::kStop);
  EXPECT_EQ(client_->text, "ab");
  EXPECT_EQ(stats_.at(0).migrations.of(MigrationReason::kStalled), 1);
}

TEST_F(RelayMigrationTest, StreamsOfADrainingGroupEndThereOrMoveWhenItCutsThem) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  groups_["a:1"].probe->load.draining = true;
  clock_.Advance(seconds(1));
  Settle();
  Stream("a:1").Send("b");
  EXPECT_EQ(client_->text, "ab");
  Stream("a:1").handler->OnDone(absl::UnavailableError("the worker shut down"));
  Now().Send("bc");
  Now().SendFinish(FinishReason::kStop);
  EXPECT_EQ(client_->text, "abc");
  EXPECT_EQ(stats_.at(0).migrations.of(MigrationReason::kDrained), 1);
}

TEST_F(RelayMigrationTest, AClientThatLeavesInTheGapFreesTheNextGroup) {
  ASSERT_OK_AND_ASSIGN(const auto relay, Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Lose(Stream("a:1"));
  FakeGroupStream& next = Now();
  relay->Cancel(absl::CancelledError("the client went away"));
  EXPECT_TRUE(next.cancelled);
  EXPECT_EQ(AllOutstanding(), 0);
  next.Send("ab");
  next.handler->OnDone(absl::CancelledError(""));
  EXPECT_EQ(client_->text, "a");
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_EQ(router_->num_in_flight(), 0);
}

TEST_F(RelayMigrationTest, ASlowClientIsCancelledAfterAMoveToo) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Lose(Stream("a:1"));
  client_->full = true;
  FakeGroupStream& next = Now();
  next.Send("a");  // nothing new for the client
  EXPECT_EQ(client_->num_finishes, 0);
  next.Send("b");
  EXPECT_TRUE(next.cancelled);
  EXPECT_THAT(client_->status, StatusIs(absl::StatusCode::kCancelled, HasSubstr("too slowly")));
}

}  // namespace
}  // namespace skv::router
