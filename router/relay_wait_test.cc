// Streams whose group was lost and that find no other: they wait for one.

#include <chrono>
#include <string>

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
using testing::IsEmpty;

// a:1 is the only group that is healthy.
class RelayWaitTest : public RelayTest {
 protected:
  void SetUp() override { OpenWithOne({}); }

  void OpenWithOne(RouterOptions options, const MembershipOptions& membership_options = {}) {
    Open(options, membership_options);
    LeaveOnly("a:1");
  }
  void Pass(Duration time) {
    clock_.Advance(time);
    Settle();
  }
  // As kill -9 does.
  void Kill(const std::string& address) {
    groups_[address].probe = absl::UnavailableError("connection refused");
    const auto streams = groups_[address].streams;
    for (const auto& stream : streams) {
      stream->handler->OnDone(absl::UnavailableError("socket closed"));
    }
  }
  // The same process, or another one in its place.
  void ComeBack(const std::string& address, uint64_t epoch) {
    groups_[address].probe = ProbeResult{.serving = true, .load = {.epoch = epoch}};
    Pass(seconds(1));
  }
  size_t NumStreams(const std::string& address) { return groups_[address].streams.size(); }
  int Waits(WaitOutcome outcome) { return stats_.at(0).waits.of(outcome); }
};

TEST_F(RelayWaitTest, AStreamGoesOnWithItsOnlyGroupOnceThatHasRestarted) {
  ASSERT_OK(Generate(MakeRequest()));
  const GroupRequest first = Stream("a:1").request;
  Stream("a:1").Send("abc");
  Kill("a:1");
  Pass(seconds(5));
  EXPECT_EQ(client_->num_finishes, 0);
  EXPECT_EQ(membership_->num_waiting(), 1u);
  EXPECT_EQ(router_->num_in_flight(), 1);
  EXPECT_EQ(Outstanding("a:1"), 0);
  ComeBack("a:1", 2);
  ASSERT_EQ(NumStreams("a:1"), 2u);
  EXPECT_EQ(membership_->num_waiting(), 0u);
  EXPECT_EQ(Stream("a:1").request.prompt_ids, first.prompt_ids);
  EXPECT_THAT(Stream("a:1").request.resume_ids, ElementsAre('a', 'b'));
  EXPECT_NE(Stream("a:1").request.request_id, first.request_id);
  Stream("a:1").Send("cde");
  Stream("a:1").SendFinish(FinishReason::kStop);
  EXPECT_OK(client_->status);
  EXPECT_EQ(client_->text, "abcde");
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_EQ(stats_.at(0).migrations.of(MigrationReason::kLost), 1);
  EXPECT_EQ(Waits(WaitOutcome::kResumed), 1);
  EXPECT_EQ(stats_.at(0).waits.total(), 1);
}

TEST_F(RelayWaitTest, ARequestWithoutAnAnswerWaitsToo) {
  ASSERT_OK(Generate(MakeRequest()));
  const GroupRequest first = Stream("a:1").request;
  Kill("a:1");
  Pass(seconds(5));
  EXPECT_EQ(client_->num_finishes, 0);
  ComeBack("a:1", 2);
  ASSERT_EQ(NumStreams("a:1"), 2u);
  EXPECT_EQ(Stream("a:1").request.prompt_ids, first.prompt_ids);
  EXPECT_THAT(Stream("a:1").request.resume_ids, IsEmpty());
  Stream("a:1").Send("ab");
  Stream("a:1").SendFinish(FinishReason::kStop);
  EXPECT_OK(client_->status);
  EXPECT_EQ(client_->text, "ab");
  EXPECT_EQ(stats_.at(0).num_retries, 1);
  EXPECT_EQ(stats_.at(0).migrations.total(), 0);
}

// As after a broken connection, or SIGSTOP and SIGCONT.
TEST_F(RelayWaitTest, AGroupThatWasOutForATimeGoesOnWithoutARestart) {
  for (const std::string_view sent : {"", "a"}) {
    SCOPED_TRACE(sent);
    OpenWithOne({});
    ASSERT_OK(Generate(MakeRequest()));
    const std::string id = Stream("a:1").request.request_id;
    Stream("a:1").Send(sent);
    Kill("a:1");
    Pass(seconds(2));
    ComeBack("a:1", 1);
    ASSERT_EQ(NumStreams("a:1"), 2u);
    EXPECT_NE(Stream("a:1").request.request_id, id);
    Stream("a:1").Send("ab");
    Stream("a:1").SendFinish(FinishReason::kStop);
    EXPECT_EQ(client_->text, "ab");
  }
}

// It is still in the snapshot as healthy: what broke off must not run into it again.
TEST_F(RelayWaitTest, AGroupThatIsNotKnownToBeOutYetIsNotAskedAgain) {
  groups_["a:1"].refusal = absl::UnavailableError("connection refused");
  ASSERT_OK(Generate(MakeRequest()));
  EXPECT_EQ(NumStreams("a:1"), 1u);
  EXPECT_EQ(membership_->num_waiting(), 1u);
}

TEST_F(RelayWaitTest, AnotherGroupThatComesFirstTakesTheStream) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Kill("a:1");
  ComeBack("b:2", 1);
  ASSERT_EQ(NumStreams("b:2"), 1u);
  Stream("b:2").Send("ab");
  Stream("b:2").SendFinish(FinishReason::kStop);
  EXPECT_EQ(client_->text, "ab");
  ComeBack("a:1", 2);
  EXPECT_EQ(NumStreams("a:1"), 1u);
}

TEST_F(RelayWaitTest, AGroupOfOtherArithmeticIsNotWaitedFor) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Kill("a:1");
  groups_["b:2"].info->numerics_id = "numerics of two ranks";
  ComeBack("b:2", 2);
  EXPECT_EQ(NumStreams("b:2"), 0u);
  EXPECT_EQ(membership_->num_waiting(), 1u);
  ComeBack("a:1", 2);
  EXPECT_EQ(NumStreams("a:1"), 2u);
}

TEST_F(RelayWaitTest, WithoutAGroupTheStreamEndsWhenItsTimeIsOver) {
  OpenWithOne({.migration_wait = seconds(10)});
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Kill("a:1");
  for (int i = 0; i < 9; ++i) Pass(seconds(1));
  EXPECT_EQ(client_->num_finishes, 0);
  Pass(milliseconds(999));
  EXPECT_EQ(client_->num_finishes, 0);
  Pass(milliseconds(1));
  EXPECT_THAT(
      client_->status,
      StatusIs(absl::StatusCode::kUnavailable,
               AllOf(HasSubstr("worker group a:1: socket closed; no other healthy worker group"),
                     HasSubstr("none came back within --migration-wait-ms 10000"))));
  EXPECT_EQ(Waits(WaitOutcome::kExpired), 1);
  EXPECT_EQ(stats_.at(0).waits.total(), 1);
  EXPECT_EQ(membership_->num_waiting(), 0u);
  EXPECT_EQ(router_->num_in_flight(), 0);
  ComeBack("a:1", 2);
  EXPECT_EQ(NumStreams("a:1"), 1u);
}

TEST_F(RelayWaitTest, NothingWaitsBeyondTheDeadlineOfItsRequest) {
  ASSERT_OK(Generate(MakeRequest(), std::chrono::system_clock::now() + seconds(10)));
  Stream("a:1").Send("a");
  Kill("a:1");
  for (int i = 0; i < 9; ++i) Pass(milliseconds(900));
  EXPECT_EQ(client_->num_finishes, 0);
  Pass(seconds(2));
  EXPECT_THAT(client_->status, StatusIs(absl::StatusCode::kDeadlineExceeded,
                                        HasSubstr("before the deadline of the request")));
  EXPECT_EQ(Waits(WaitOutcome::kExpired), 1);
}

TEST_F(RelayWaitTest, AClientThatLeavesEndsTheWaitAtOnce) {
  ASSERT_OK_AND_ASSIGN(const auto relay, Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Kill("a:1");
  relay->Cancel(absl::CancelledError("the client went away"));
  EXPECT_THAT(client_->status, StatusIs(absl::StatusCode::kCancelled, HasSubstr("went away")));
  EXPECT_EQ(membership_->num_waiting(), 0u);
  EXPECT_EQ(router_->num_in_flight(), 0);
  EXPECT_EQ(Waits(WaitOutcome::kEnded), 1);
  ComeBack("a:1", 2);
  EXPECT_EQ(NumStreams("a:1"), 1u);
  EXPECT_EQ(client_->num_finishes, 1);
}

TEST_F(RelayWaitTest, MoreStreamsThanMayWaitEnd) {
  OpenWithOne({}, {.max_waiting_streams = 1});
  ASSERT_OK(Generate(MakeRequest()));
  const auto first = client_;
  client_ = std::make_shared<RecordingClient>();
  ASSERT_OK(Generate(MakeRequest()));
  Kill("a:1");
  EXPECT_EQ(first->num_finishes, 0);
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("1 streams wait for one, as many as --max-waiting-streams")));
  EXPECT_EQ(Waits(WaitOutcome::kRefused), 1);
  ComeBack("a:1", 2);
  EXPECT_EQ(NumStreams("a:1"), 3u);
}

TEST_F(RelayWaitTest, SamplesWaitEachForItself) {
  Request request = MakeRequest();
  request.n = 2;
  ASSERT_OK(Generate(request));
  Stream("a:1").Send("a", 0);
  Stream("a:1").Send("b", 1);
  Kill("a:1");
  EXPECT_EQ(membership_->num_waiting(), 2u);
  ComeBack("a:1", 2);
  ASSERT_EQ(NumStreams("a:1"), 3u);
  groups_["a:1"].streams[1]->Send("ac");
  groups_["a:1"].streams[1]->SendFinish(FinishReason::kStop);
  groups_["a:1"].streams[2]->Send("bd");
  groups_["a:1"].streams[2]->SendFinish(FinishReason::kStop);
  EXPECT_OK(client_->status);
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_EQ(client_->events.back().usage->completion_tokens, 4);
  EXPECT_EQ(Waits(WaitOutcome::kResumed), 2);
}

TEST_F(RelayWaitTest, OneSampleWhoseTimeIsOverEndsTheRequestOnce) {
  Request request = MakeRequest();
  request.n = 2;
  ASSERT_OK(Generate(request));
  Stream("a:1").Send("a", 0);
  Kill("a:1");
  for (int i = 0; i < 31; ++i) Pass(seconds(1));
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_EQ(Waits(WaitOutcome::kExpired), 1);
  EXPECT_EQ(Waits(WaitOutcome::kEnded), 1);
}

TEST_F(RelayWaitTest, AGroupThatFallsAgainAndAgainIsLeftInTheEnd) {
  OpenWithOne({.max_migrations = 2});
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  for (uint64_t epoch = 2; epoch <= 3; ++epoch) {
    Kill("a:1");
    EXPECT_EQ(client_->num_finishes, 0);
    ComeBack("a:1", epoch);
  }
  EXPECT_EQ(NumStreams("a:1"), 3u);
  Kill("a:1");
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("socket closed")));
}

TEST_F(RelayWaitTest, WhatFindsNoRoomAfterItsWaitGoesOnWaiting) {
  for (const std::string_view sent : {"", "a"}) {
    SCOPED_TRACE(sent);
    OpenWithOne({.max_retries = 1, .max_migrations = 1});
    ASSERT_OK(Generate(MakeRequest()));
    Stream("a:1").Send(sent);
    Kill("a:1");
    groups_["a:1"].refusal = absl::ResourceExhaustedError("queue full");
    ComeBack("a:1", 2);
    EXPECT_EQ(NumStreams("a:1"), 2u);
    Pass(milliseconds(999));
    EXPECT_EQ(NumStreams("a:1"), 2u);
    Pass(milliseconds(1));
    EXPECT_EQ(NumStreams("a:1"), 3u);
    EXPECT_EQ(membership_->num_waiting(), 1u);
    EXPECT_EQ(Outstanding("a:1"), 0);
    groups_["a:1"].refusal = absl::OkStatus();
    Pass(seconds(1));
    ASSERT_EQ(NumStreams("a:1"), 4u);
    EXPECT_EQ(membership_->num_waiting(), 0u);
    Stream("a:1").Send("ab");
    Stream("a:1").SendFinish(FinishReason::kStop);
    EXPECT_EQ(client_->text, "ab");
    EXPECT_EQ(stats_.at(0).num_retries + stats_.at(0).migrations.total(), 1);
  }
}

TEST_F(RelayWaitTest, AWaitForRoomEndsWithTheTimeOfTheFirstWait) {
  for (const std::string_view sent : {"", "a"}) {
    SCOPED_TRACE(sent);
    OpenWithOne({.migration_wait = milliseconds(4500)});
    ASSERT_OK(Generate(MakeRequest()));
    Stream("a:1").Send(sent);
    Kill("a:1");
    groups_["a:1"].refusal = absl::ResourceExhaustedError("queue full");
    ComeBack("a:1", 2);
    for (int i = 0; i < 3; ++i) Pass(seconds(1));
    EXPECT_EQ(client_->num_finishes, 0);
    Pass(milliseconds(500));
    EXPECT_THAT(client_->status, StatusIs(sent.empty() ? absl::StatusCode::kResourceExhausted
                                                       : absl::StatusCode::kUnavailable,
                                          HasSubstr("queue full")));
    EXPECT_EQ(NumStreams("a:1"), 6u);
    EXPECT_EQ(membership_->num_waiting(), 0u);
  }
}

// Whatever got no token yet may be what kills the group.
TEST_F(RelayWaitTest, WhatRunsBesideARequestThatKillsItsGroupOutlivesIt) {
  ASSERT_OK(Generate(MakeRequest()));
  const auto innocent = client_;
  Stream("a:1").Send("a");
  client_ = std::make_shared<RecordingClient>();
  ASSERT_OK(Generate(MakeRequest()));
  Kill("a:1");
  ComeBack("a:1", 2);
  EXPECT_EQ(NumStreams("a:1"), 4u);
  EXPECT_EQ(client_->num_finishes, 0);
  Kill("a:1");
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("socket closed")));
  EXPECT_EQ(innocent->num_finishes, 0);
  ComeBack("a:1", 3);
  ASSERT_EQ(NumStreams("a:1"), 5u);
  Stream("a:1").Send("ab");
  Stream("a:1").SendFinish(FinishReason::kStop);
  EXPECT_EQ(innocent->text, "ab");
}

TEST_F(RelayWaitTest, ARequestWithoutAnAnswerComesBackToOneOfTwoGroupsOnce) {
  groups_["b:2"].probe = ProbeResult{.serving = true, .load = {.epoch = 1}};
  Pass(seconds(1));
  ASSERT_OK(Generate(MakeRequest()));
  const std::string first = NumStreams("a:1") == 1 ? "a:1" : "b:2";
  const std::string second = first == "a:1" ? "b:2" : "a:1";
  Kill(first);
  ComeBack(first, 2);
  ASSERT_EQ(NumStreams(second), 1u);
  Kill(second);
  ComeBack(second, 2);
  ASSERT_EQ(NumStreams(first), 2u);
  Kill(first);
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_EQ(NumStreams(second), 1u);
}

TEST_F(RelayWaitTest, ARequestWithoutAnAnswerWaitsOnce) {
  ASSERT_OK(Generate(MakeRequest()));
  Kill("a:1");
  ComeBack("b:2", 1);
  ASSERT_EQ(NumStreams("b:2"), 1u);
  Kill("b:2");
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_EQ(membership_->num_waiting(), 0u);
}

TEST_F(RelayWaitTest, AWaitingStreamMayGoOnWhileTheRouterDrains) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Kill("a:1");
  router_->StartDrain();
  EXPECT_FALSE(router_->WaitUntilIdle(Duration::zero()));
  ComeBack("a:1", 2);
  Stream("a:1").Send("ab");
  Stream("a:1").SendFinish(FinishReason::kStop);
  EXPECT_EQ(client_->text, "ab");
  EXPECT_TRUE(router_->WaitUntilIdle(Duration::zero()));
}

TEST_F(RelayWaitTest, NoneIsTheOldWay) {
  OpenWithOne({.migration_wait = {}});
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("a");
  Kill("a:1");
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no other healthy")));
  EXPECT_EQ(stats_.at(0).waits.total(), 0);
}

TEST_F(RelayWaitTest, AFreshRequestIsToldAtOnceThatNoGroupIsHealthy) {
  groups_["a:1"].probe = absl::UnavailableError("connection refused");
  Pass(seconds(1));
  ASSERT_OK(Generate(MakeRequest()));
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no healthy worker group")));
}

TEST_F(RelayWaitTest, AFreshRequestIsToldAtOnceThatTheGroupIsFull) {
  groups_["a:1"].refusal = absl::ResourceExhaustedError("queue full");
  ASSERT_OK(Generate(MakeRequest()));
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("queue full")));
}

TEST_F(RelayWaitTest, WhatEveryHealthyGroupFailedAtIsNotWaitedFor) {
  Open({});
  for (const char* address : {"a:1", "b:2", "c:3"}) {
    groups_[address].refusal = absl::AbortedError("step failed");
  }
  ASSERT_OK(Generate(MakeRequest()));
  EXPECT_THAT(client_->status, StatusIs(absl::StatusCode::kAborted, HasSubstr("step failed")));
}

}  // namespace
}  // namespace skv::router
