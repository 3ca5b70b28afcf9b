#include "router/relay.h"

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/relay_testing.h"

namespace skv::router {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

TEST_F(RelayTest, CarriesTokensAndEndsWithUsageAndTimings) {
  ASSERT_OK(Generate(MakeRequest()));
  clock_.Advance(milliseconds(250));
  Stream("a:1").handler->OnEvent({.tokens = {{.id = 'h'}},
                                  .cached_tokens = 3,
                                  .timings = WorkerTimings{.queue_ms = 1, .prefill_ms = 2}});
  clock_.Advance(milliseconds(50));
  Stream("a:1").Send("i");
  Stream("a:1").SendFinish(FinishReason::kLength);
  Stream("a:1").handler->OnDone(absl::OkStatus());

  EXPECT_EQ(client_->text, "hi");
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_OK(client_->status);
  const Event& last = client_->events.back();
  EXPECT_EQ(last.finish->reason, FinishReason::kLength);
  EXPECT_EQ(last.usage->prompt_tokens, 5);
  EXPECT_EQ(last.usage->cached_tokens, 3);
  EXPECT_EQ(last.usage->completion_tokens, 2);
  EXPECT_DOUBLE_EQ(last.timings->ttft_ms, 250);
  EXPECT_DOUBLE_EQ(last.timings->total_ms, 300);
  EXPECT_DOUBLE_EQ(last.timings->decode_ms, 50);
  EXPECT_EQ(last.timings->worker.queue_ms, 1);
  EXPECT_EQ(last.timings->worker.prefill_ms, 2);
  EXPECT_EQ(client_->events.front().numerics_id, "numerics");
  EXPECT_EQ(client_->events.front().request_id, Stream("a:1").request.request_id);
  EXPECT_FALSE(Stream("a:1").cancelled);
  EXPECT_EQ(router_->num_in_flight(), 0);
  ASSERT_EQ(stats_.size(), 1u);
  EXPECT_EQ(stats_[0].code, absl::StatusCode::kOk);
}

TEST_F(RelayTest, ASampleThatEndsWithoutATokenTellsTheCachedTokensToo) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").handler->OnEvent(
      {.finish = GroupFinish{FinishReason::kError, "not finite"}, .cached_tokens = 3});
  ASSERT_TRUE(client_->events.back().usage.has_value());
  EXPECT_EQ(client_->events.back().usage->cached_tokens, 3);
}

TEST_F(RelayTest, OutstandingTokensFollowTheStreamAndReturnToZero) {
  ASSERT_OK(Generate(MakeRequest()));
  EXPECT_EQ(Outstanding("a:1"), 15);
  Stream("a:1").Send("x");
  EXPECT_EQ(Outstanding("a:1"), 9);
  Stream("a:1").Send("yz");
  EXPECT_EQ(Outstanding("a:1"), 7);
  Stream("a:1").SendFinish(FinishReason::kStop);
  EXPECT_EQ(Outstanding("a:1"), 0);
}

TEST_F(RelayTest, AFailureBeforeTheFirstTokenGoesToAnotherGroupNeverTheSame) {
  groups_["a:1"].refusal = absl::UnavailableError("connection refused");
  ASSERT_OK(Generate(MakeRequest()));
  EXPECT_EQ(groups_["a:1"].streams.size(), 1u);
  Stream("b:2").handler->OnDone(absl::ResourceExhaustedError("queue full"));
  Stream("c:3").Send("ok");
  Stream("c:3").SendFinish(FinishReason::kStop);
  EXPECT_OK(client_->status);
  EXPECT_EQ(client_->text, "ok");
  EXPECT_EQ(client_->events.back().timings->num_retries, 2);
  for (const char* address : {"a:1", "b:2", "c:3"}) {
    EXPECT_EQ(groups_[address].streams.size(), 1u);
    EXPECT_EQ(Outstanding(address), 0);
    EXPECT_EQ(Stream(address).request.seeds, Stream("c:3").request.seeds);
  }
}

TEST_F(RelayTest, WhenEveryGroupFailsTheClientHearsTheLastReason) {
  for (const char* address : {"a:1", "b:2", "c:3"}) {
    groups_[address].refusal = absl::UnavailableError("connection refused");
  }
  ASSERT_OK(Generate(MakeRequest()));
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_THAT(client_->status, StatusIs(absl::StatusCode::kUnavailable,
                                        AllOf(HasSubstr("worker group c:3: connection refused"),
                                              HasSubstr("no other healthy worker group"))));
}

TEST_F(RelayTest, AnUnavailableGroupIsOutUntilItsNextGoodProbe) {
  groups_["a:1"].refusal = absl::UnavailableError("connection refused");
  ASSERT_OK(Generate(MakeRequest()));
  membership_->Tick();
  EXPECT_EQ(membership_->snapshot()->num_healthy_groups(), 2);
}

TEST_F(RelayTest, AWrongRequestIsNotRetried) {
  groups_["a:1"].refusal = absl::InvalidArgumentError("top_k: too many");
  ASSERT_OK(Generate(MakeRequest()));
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a:1: top_k: too many")));
  EXPECT_TRUE(groups_["b:2"].streams.empty());
}

// What moves is in relay_migration_test.cc.
TEST_F(RelayTest, TheOnlyGroupLostAfterTheFirstTokenEndsTheStreamUnavailable) {
  for (const absl::Status& end :
       {absl::UnavailableError("socket closed"), absl::OkStatus(), absl::CancelledError("shut")}) {
    SCOPED_TRACE(end.ToString());
    SetUp();
    LeaveOnly("a:1");
    ASSERT_OK(Generate(MakeRequest()));
    Stream("a:1").Send("x");
    Stream("a:1").handler->OnDone(end);
    EXPECT_THAT(client_->status,
                StatusIs(absl::StatusCode::kUnavailable,
                         AllOf(HasSubstr("worker group a:1"), HasSubstr("no other healthy"))));
    EXPECT_EQ(client_->num_finishes, 1);
    EXPECT_EQ(client_->text, "x");
  }
}

TEST_F(RelayTest, AStoppedGroupIsGivenUpAfterTheStallTimeout) {
  LeaveOnly("a:1");
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").Send("x");
  groups_["a:1"].silent = true;
  for (int i = 0; i < 12; ++i) {
    clock_.Advance(milliseconds(250));
    Settle();
  }
  EXPECT_EQ(client_->num_finishes, 0);
  clock_.Advance(milliseconds(250));
  Settle();
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("a:1: no sign of life")));
  EXPECT_TRUE(Stream("a:1").cancelled);
}

TEST_F(RelayTest, AGroupStoppedBeforeTheFirstTokenIsReplaced) {
  ASSERT_OK(Generate(MakeRequest()));
  groups_["a:1"].silent = true;
  for (int i = 0; i < 13; ++i) {
    clock_.Advance(milliseconds(250));
    Settle();
  }
  EXPECT_TRUE(Stream("a:1").cancelled);
  FakeGroupStream& second = groups_["b:2"].streams.empty() ? Stream("c:3") : Stream("b:2");
  Stream("a:1").Send("late");  // given up: not heard any more
  second.Send("ok");
  second.SendFinish(FinishReason::kStop);
  EXPECT_EQ(client_->text, "ok");
  EXPECT_OK(client_->status);
}

TEST_F(RelayTest, AClientThatLeavesFreesItsGroup) {
  ASSERT_OK_AND_ASSIGN(const auto relay, Generate(MakeRequest()));
  Stream("a:1").Send("x");
  relay->Cancel(absl::CancelledError("the client went away"));
  EXPECT_TRUE(Stream("a:1").cancelled);
  EXPECT_EQ(Outstanding("a:1"), 0);
  EXPECT_EQ(router_->num_in_flight(), 0);
  Stream("a:1").Send("y");
  Stream("a:1").handler->OnDone(absl::CancelledError(""));
  EXPECT_EQ(client_->text, "x");
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_EQ(stats_.size(), 1u);
}

TEST_F(RelayTest, TheEndIsCountedBeforeAnyoneCanSeeIt) {
  ASSERT_OK(Generate(MakeRequest()));
  Stream("a:1").SendFinish(FinishReason::kStop);
  EXPECT_EQ(finishes_at_end_, 0);
  EXPECT_EQ(in_flight_at_end_, 1);
  EXPECT_EQ(client_->num_finishes, 1);
  EXPECT_EQ(router_->num_in_flight(), 0);
}

TEST_F(RelayTest, ASlowClientIsCancelled) {
  ASSERT_OK(Generate(MakeRequest()));
  client_->full = true;
  Stream("a:1").Send("x");
  EXPECT_TRUE(Stream("a:1").cancelled);
  EXPECT_THAT(client_->status, StatusIs(absl::StatusCode::kCancelled, HasSubstr("too slowly")));
}

TEST_F(RelayTest, AStopStringOfTheOnlySampleCancelsTheGroup) {
  Request request = MakeRequest();
  request.stop = {"."};
  ASSERT_OK(Generate(std::move(request)));
  Stream("a:1").Send("Yes. No");
  EXPECT_EQ(client_->text, "Yes");
  EXPECT_OK(client_->status);
  EXPECT_EQ(client_->events.back().finish->stop_string, ".");
  EXPECT_EQ(client_->events.back().usage->completion_tokens, 4);
  EXPECT_TRUE(Stream("a:1").cancelled);
}

TEST_F(RelayTest, AStopStringEndsWithTheTimingsOfTheWholeCall) {
  Request request = MakeRequest();
  request.stop = {"."};
  request.n = 2;
  ASSERT_OK(Generate(std::move(request)));
  clock_.Advance(milliseconds(250));
  Stream("a:1").handler->OnEvent(
      {.tokens = {{.id = 'a'}}, .timings = WorkerTimings{.queue_ms = 1, .prefill_ms = 2}});
  Stream("a:1").handler->OnEvent({.sample_idx = 1,
                                  .tokens = {{.id = 'b'}},
                                  .timings = WorkerTimings{.queue_ms = 1, .prefill_ms = 3}});
  clock_.Advance(milliseconds(30));
  Stream("a:1").Send(".", 0);
  clock_.Advance(milliseconds(20));
  Stream("a:1").Send(".", 1);
  const Timings timings = client_->events.back().timings.value();
  EXPECT_EQ(timings.worker.queue_ms, 1);
  EXPECT_EQ(timings.worker.prefill_ms, 2);
  EXPECT_DOUBLE_EQ(timings.ttft_ms, 250);
  EXPECT_DOUBLE_EQ(timings.decode_ms, 50);
  EXPECT_DOUBLE_EQ(timings.total_ms, 300);
}

TEST_F(RelayTest, AStopStringOfOneSampleLetsTheOthersGoOn) {
  Request request = MakeRequest();
  request.stop = {"."};
  request.n = 2;
  ASSERT_OK(Generate(std::move(request)));
  ASSERT_EQ(Stream("a:1").request.seeds.size(), 2u);
  Stream("a:1").Send("a.", 1);
  EXPECT_EQ(groups_["a:1"].cancelled_samples, std::vector<int32_t>{1});
  EXPECT_FALSE(Stream("a:1").cancelled);
  Stream("a:1").SendFinish(FinishReason::kError, 1);  // as the cancelled sample ends there
  EXPECT_EQ(client_->num_finishes, 0);
  Stream("a:1").Send("b", 0);
  Stream("a:1").SendFinish(FinishReason::kLength, 0);
  EXPECT_OK(client_->status);
  EXPECT_EQ(client_->num_finishes, 1);
  int num_usages = 0;
  for (const Event& event : client_->events) num_usages += event.usage.has_value();
  EXPECT_EQ(num_usages, 1);
}

TEST_F(RelayTest, AWorkerThatTalksNonsenseEndsTheStreamInternal) {
  const GroupEvent kNonsense[] = {{.sample_idx = 1}, {.sample_idx = -1}, {.tokens = {{.id = 999}}}};
  for (const GroupEvent& event : kNonsense) {
    client_ = std::make_shared<RecordingClient>();
    groups_["b:2"].refusal = groups_["c:3"].refusal = absl::UnavailableError("down");
    ASSERT_OK(Generate(MakeRequest()));
    Stream("a:1").handler->OnEvent(event);
    EXPECT_THAT(client_->status, StatusIs(absl::StatusCode::kInternal, HasSubstr("a:1")));
  }
}

TEST_F(RelayTest, SeedsAndIdsAreDrawnOnlyWhenNoneIsGiven) {
  Request request = MakeRequest();
  request.seed = 42;
  request.request_id = "mine";
  ASSERT_OK(Generate(std::move(request)));
  EXPECT_EQ(Stream("a:1").request.seeds, std::vector<uint64_t>{42});
  Stream("a:1").Send("x");
  EXPECT_EQ(client_->events.back().request_id, "mine");
  ASSERT_OK(Generate(MakeRequest()));
  ASSERT_OK(Generate(MakeRequest()));
  EXPECT_NE(Stream("b:2").request.seeds, Stream("c:3").request.seeds);
  EXPECT_NE(Stream("b:2").request.request_id, Stream("c:3").request.request_id);
}

TEST_F(RelayTest, RequestsOfOneIdDoNotMeetOnAWorker) {
  Request request = MakeRequest();
  request.request_id = "same";
  for (int i = 0; i < 4; ++i) ASSERT_OK(Generate(request));
  ASSERT_EQ(groups_["a:1"].streams.size(), 2u);
  EXPECT_NE(groups_["a:1"].streams[0]->request.request_id,
            groups_["a:1"].streams[1]->request.request_id);
}

TEST_F(RelayTest, WithoutAHealthyGroupTheAnswerComesAtOnce) {
  for (const char* address : {"a:1", "b:2", "c:3"}) {
    groups_[address].probe = absl::UnavailableError("connection refused");
  }
  clock_.Advance(seconds(1));
  Settle();
  ASSERT_OK(Generate(MakeRequest()));
  EXPECT_THAT(client_->status,
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("0 of 3 healthy"), HasSubstr("b:2: connection refused"))));
}

TEST_F(RelayTest, TheCapOfRequestsHoldsAndDrainLetsRunningOnesEnd) {
  std::vector<std::shared_ptr<Relay>> relays(4);
  for (auto& relay : relays) relay = Generate(MakeRequest()).value();
  EXPECT_THAT(Generate(MakeRequest()).status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("at most")));
  relays[0]->Cancel(absl::CancelledError(""));
  router_->StartDrain();
  EXPECT_THAT(Generate(MakeRequest()).status(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("draining")));
  Stream("b:2").Send("x");
  EXPECT_EQ(client_->text, "x");
  for (const auto& relay : relays) relay->Cancel(absl::CancelledError(""));
  EXPECT_TRUE(router_->WaitUntilIdle(milliseconds(0)));
}

TEST_F(RelayTest, ARefusedRequestStartsNothingAndIsCounted) {
  Request request = MakeRequest();
  request.temperature = -1;
  EXPECT_THAT(Generate(std::move(request)).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("temperature")));
  EXPECT_TRUE(groups_["a:1"].streams.empty());
  EXPECT_EQ(client_->num_finishes, 0);
  EXPECT_EQ(stats_.at(0).code, absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace skv::router
