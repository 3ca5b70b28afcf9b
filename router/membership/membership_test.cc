#include "router/membership/membership.h"

#include <atomic>
#include <thread>

#include "common/testing/fake_clock.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/testing/fake_group_client.h"
#include "router/testing/fake_worker_source.h"

namespace skv::router {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

class MembershipTest : public testing::Test {
 protected:
  void SetUp() override {
    clock_.Advance(seconds(100));
    membership_ = std::make_unique<Membership>(
        MembershipOptions{}, std::make_unique<FakeWorkerSource>(&list_), groups_.factory(),
        FindPolicy("round_robin").value(), &clock_, prefixes_);
  }

  // Two ticks apply what the first one asked for, two more the model infos.
  void Settle() {
    for (int i = 0; i < 4; ++i) membership_->Tick();
  }
  void Pass(Duration time) {
    for (Duration step; time > Duration::zero(); time -= step) {
      step = std::min<Duration>(time, milliseconds(250));
      clock_.Advance(step);
      Settle();
    }
  }
  CacheId FindCache(const std::string& address) {
    const auto cluster = membership_->snapshot();
    for (const auto& [id, entry] : cluster->groups) {
      if (entry.group->address() == address) return entry.cache_id;
    }
    return kNoCache;
  }
  void Report(const std::string& address, uint64_t epoch, std::string store_id = "") {
    groups_[address].probe =
        ProbeResult{.serving = true, .load = {.epoch = epoch, .store_id = std::move(store_id)}};
  }
  int NumHealthy() { return membership_->snapshot()->num_healthy_groups(); }
  std::shared_ptr<Group> FindGroup(const std::string& address) {
    const auto cluster = membership_->snapshot();
    for (const auto& [id, entry] : cluster->groups) {
      if (entry.group->address() == address) return entry.group;
    }
    return nullptr;
  }

  FakeClock clock_;
  FakeGroups groups_;
  absl::StatusOr<std::vector<std::string>> list_ = std::vector<std::string>{"a:1", "b:2"};
  std::shared_ptr<PrefixIndex> prefixes_ = std::make_shared<PrefixIndex>(100);
  std::unique_ptr<Membership> membership_;
};

TEST_F(MembershipTest, IsDownUntilAGroupHasTold) {
  EXPECT_THAT(membership_->snapshot()->FindModel(""),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("0 of 0 healthy")));
  Settle();
  EXPECT_EQ(NumHealthy(), 2);
  ASSERT_OK_AND_ASSIGN(const ClusterModel model, membership_->snapshot()->FindModel(""));
  EXPECT_EQ(model.served->name(), "tiny");
  EXPECT_EQ(model.num_healthy_groups, 2);
}

TEST_F(MembershipTest, UnknownModelIsNotFoundAndNamesWhatThereIs) {
  Settle();
  EXPECT_THAT(
      membership_->snapshot()->FindModel("gpt"),
      StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("\"gpt\""), HasSubstr("tiny"))));
}

TEST_F(MembershipTest, TwoModelsNeedAName) {
  groups_["b:2"].info = TinyModel("f9", "other");
  Settle();
  EXPECT_EQ(NumHealthy(), 2);
  EXPECT_OK(membership_->snapshot()->FindModel("other"));
  EXPECT_THAT(membership_->snapshot()->FindModel(""),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("other, tiny")));
}

TEST_F(MembershipTest, AGroupThatDisagreesOnTheModelIsKeptOutUntilItAgrees) {
  groups_["b:2"].info = TinyModel("f2");
  Settle();
  EXPECT_EQ(NumHealthy(), 1);
  const auto snapshot = membership_->snapshot();
  EXPECT_THAT(
      snapshot->groups.at(FindGroup("b:2")->id()).health,
      StatusIs(absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr("a:1"), HasSubstr("b:2"), HasSubstr("f1"), HasSubstr("f2"))));
  groups_["b:2"].info = TinyModel("f1");
  Pass(seconds(1));
  EXPECT_EQ(NumHealthy(), 2);
}

TEST_F(MembershipTest, AGroupWithOtherKvPoliciesIsKeptOutAndBothAreNamed) {
  groups_["b:2"].info->kv_policies.default_name = "sentencekv";
  Settle();
  EXPECT_EQ(NumHealthy(), 1);
  EXPECT_THAT(membership_->snapshot()->groups.at(FindGroup("b:2")->id()).health,
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("a:1"), HasSubstr("b:2"), HasSubstr("KV policy sentencekv"),
                             HasSubstr("KV policy full"))));
  groups_["a:1"].probe = absl::UnavailableError("connection refused");
  Pass(seconds(2));
  EXPECT_EQ(membership_->snapshot()->FindModel("tiny")->served->limits().kv_policies.default_name,
            "sentencekv");
}

TEST_F(MembershipTest, AGroupThatIsGoneHasNoSayInWhichModelIsServed) {
  Settle();
  groups_["a:1"].probe = absl::UnavailableError("connection refused");
  Pass(seconds(1));
  groups_["b:2"].info = TinyModel("f2");
  groups_["b:2"].probe = ProbeResult{.serving = true, .load = {.epoch = 2}};
  Pass(seconds(1));
  EXPECT_EQ(NumHealthy(), 1);
  EXPECT_EQ(membership_->snapshot()->FindModel("tiny")->served->fingerprint(), "f2");

  // Back with the old model, it is the one that is kept out.
  groups_["a:1"].probe = ProbeResult{.serving = true, .load = {.epoch = 1}};
  Pass(seconds(1));
  EXPECT_EQ(NumHealthy(), 1);
  EXPECT_THAT(membership_->snapshot()->groups.at(FindGroup("a:1")->id()).health,
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("f1")));
  EXPECT_EQ(membership_->snapshot()->FindModel("tiny")->served->fingerprint(), "f2");
  groups_["b:2"].probe = absl::UnavailableError("connection refused");
  Pass(seconds(2));
  EXPECT_EQ(NumHealthy(), 1);
  EXPECT_EQ(membership_->snapshot()->FindModel("tiny")->served->fingerprint(), "f1");
}

TEST_F(MembershipTest, AHostileTokenizerKeepsItsGroupOut) {
  groups_["b:2"].info->tokenizer.token_types = {1, 2};
  groups_["b:2"].info->name = "other";
  Settle();
  EXPECT_EQ(NumHealthy(), 1);
}

TEST_F(MembershipTest, ARefusedProbeTakesAGroupOutAndAGoodOneBringsItBack) {
  Settle();
  groups_["a:1"].probe = absl::UnavailableError("connection refused");
  Pass(seconds(1));
  EXPECT_EQ(NumHealthy(), 1);
  EXPECT_THAT(membership_->snapshot()->DownStatus(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("a:1: connection refused")));
  groups_["a:1"].probe = ProbeResult{.serving = true, .load = {.epoch = 1}};
  Pass(seconds(1));
  EXPECT_EQ(NumHealthy(), 2);
  EXPECT_EQ(groups_["a:1"].num_fetches, 1);
}

TEST_F(MembershipTest, AGroupIsProbedOncePerInterval) {
  Settle();
  const int num_probes = groups_["a:1"].num_probes;
  Pass(seconds(5));
  EXPECT_EQ(groups_["a:1"].num_probes, num_probes + 5);
}

TEST_F(MembershipTest, ARestartedGroupIsAskedForItsModelAgain) {
  Settle();
  groups_["a:1"].probe = ProbeResult{.serving = true, .load = {.epoch = 2}};
  clock_.Advance(seconds(1));
  membership_->Tick();  // asks
  membership_->Tick();  // hears of the new epoch; the model is under way
  EXPECT_EQ(NumHealthy(), 1);
  EXPECT_THAT(membership_->snapshot()->DownStatus().message(), HasSubstr("a:1: restarted"));
  Settle();
  EXPECT_EQ(groups_["a:1"].num_fetches, 2);
  EXPECT_EQ(NumHealthy(), 2);
}

TEST_F(MembershipTest, ADrainingGroupGetsNothingNewAndKeepsItsStreams) {
  Settle();
  int num_lost = 0;
  FindGroup("a:1")->Watch([&](const absl::Status&) { ++num_lost; });
  groups_["a:1"].probe = ProbeResult{.serving = false, .load = {.epoch = 1, .draining = true}};
  for (int i = 0; i < 10; ++i) Pass(seconds(1));
  EXPECT_EQ(NumHealthy(), 1);
  EXPECT_EQ(num_lost, 0);
}

TEST_F(MembershipTest, ASilentGroupLosesItsStreamsAfterTheStallTimeout) {
  Settle();
  std::vector<std::string> lost;
  FindGroup("a:1")->Watch([&](const absl::Status& s) { lost.emplace_back(s.message()); });
  groups_["a:1"].silent = true;
  Pass(milliseconds(2900));
  EXPECT_TRUE(lost.empty());
  Pass(milliseconds(300));
  EXPECT_THAT(lost, testing::ElementsAre(HasSubstr("no sign of life")));
  EXPECT_EQ(NumHealthy(), 1);
}

TEST_F(MembershipTest, EventsOfAStreamAreASignOfLife) {
  Settle();
  int num_lost = 0;
  FindGroup("a:1")->Watch([&](const absl::Status&) { ++num_lost; });
  groups_["a:1"].silent = true;
  for (int i = 0; i < 10; ++i) {
    FindGroup("a:1")->MarkHeard(clock_.Now());
    Pass(seconds(1));
  }
  EXPECT_EQ(num_lost, 0);
}

TEST_F(MembershipTest, ALateProbeAloneDoesNotTakeAGroupOut) {
  Settle();
  groups_["a:1"].probe = absl::DeadlineExceededError("late");
  Pass(seconds(1));
  EXPECT_EQ(NumHealthy(), 2);
  Pass(seconds(1));
  Pass(milliseconds(1500));
  EXPECT_EQ(NumHealthy(), 1);
}

TEST_F(MembershipTest, ARouterThatWasSuspendedBlamesNoGroup) {
  Settle();
  int num_lost = 0;
  FindGroup("a:1")->Watch([&](const absl::Status&) { ++num_lost; });
  clock_.Advance(seconds(60));
  Settle();
  EXPECT_EQ(num_lost, 0);
  EXPECT_EQ(NumHealthy(), 2);
}

TEST_F(MembershipTest, AGroupStuckInAStepIsLostThoughItAnswersProbes) {
  Settle();
  int num_lost = 0;
  FindGroup("a:1")->Watch([&](const absl::Status&) { ++num_lost; });
  groups_["a:1"].probe =
      ProbeResult{.serving = true, .load = {.epoch = 1, .step_age = milliseconds(3100)}};
  Pass(seconds(1));
  EXPECT_EQ(num_lost, 1);
  EXPECT_EQ(NumHealthy(), 1);
}

TEST_F(MembershipTest, AStuckStepIsNoticedWithinTheStatedTimeWheneverItBegins) {
  const MembershipOptions options;
  const Duration tick = options.probe_interval / 4;
  Duration slowest{};
  for (int begin = 0; begin < 20; ++begin) {
    SetUp();
    Settle();
    bool lost = false;
    FindGroup("a:1")->Watch([&](const absl::Status&) { lost = true; });
    const TimePoint stuck = clock_.Now() + begin * milliseconds(50);
    while (!lost && clock_.Now() < stuck + seconds(60)) {
      clock_.Advance(tick);
      const Duration age = std::max(Duration::zero(), clock_.Now() - stuck);
      groups_["a:1"].probe = ProbeResult{.serving = true, .load = {.epoch = 1, .step_age = age}};
      Settle();
    }
    slowest = std::max(slowest, clock_.Now() - stuck);
  }
  EXPECT_LE(ToSeconds(slowest), ToSeconds(LossDetectionTime(options)));
  EXPECT_GT(ToSeconds(slowest), ToSeconds(LossDetectionTime(options) - 2 * tick));
  EXPECT_LE(ToSeconds(LossDetectionTime(options)), 5);
}

TEST(ValidateMembershipOptionsTest, ProbesMayNotBeRarerThanTwoInAStallTimeout) {
  EXPECT_OK(ValidateMembershipOptions({}));
  EXPECT_OK(ValidateMembershipOptions({.probe_interval = seconds(2), .stall_timeout = seconds(4)}));
  EXPECT_THAT(
      ValidateMembershipOptions({.probe_interval = seconds(10), .stall_timeout = seconds(3)}),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("--health-check-interval-secs: got 10"),
                     HasSubstr("--stall-timeout-secs, which is 3"))));
}

TEST_F(MembershipTest, ALossThatARelaySawOutranksTheProbeUnderWay) {
  Settle();
  const GroupId id = FindGroup("a:1")->id();
  clock_.Advance(seconds(1));
  membership_->Tick();  // its probe's answer lies in the inbox
  membership_->ReportLost(id, absl::UnavailableError("connection reset"));
  membership_->Tick();
  EXPECT_EQ(NumHealthy(), 1);
  Pass(seconds(1));
  EXPECT_EQ(NumHealthy(), 2);
}

TEST_F(MembershipTest, OutagesAndRecoveriesAreCounted) {
  Settle();
  const GroupId id = FindGroup("a:1")->id();
  const auto entry = [&] { return membership_->snapshot()->groups.at(id); };
  EXPECT_EQ(membership_->snapshot()->num_recoveries, 2u);
  EXPECT_EQ(entry().num_outages, 0u);
  for (int i = 0; i < 2; ++i) {
    membership_->ReportLost(id, absl::UnavailableError("connection reset"));
    membership_->Tick();
  }
  EXPECT_EQ(membership_->snapshot()->num_recoveries, 2u);
  EXPECT_EQ(entry().num_outages, 1u);
  Pass(seconds(2));
  EXPECT_EQ(membership_->snapshot()->num_recoveries, 3u);
  Report("a:1", 2);
  Pass(seconds(1));
  EXPECT_EQ(membership_->snapshot()->num_recoveries, 4u);
  EXPECT_EQ(entry().num_outages, 2u);
}

TEST_F(MembershipTest, AWaiterHearsOfARecoveryThatCameBeforeItEntered) {
  const auto before = membership_->snapshot();
  Settle();
  int num_calls = 0;
  const auto waiter = [&](uint64_t, bool time_is_over) { num_calls += time_is_over ? 100 : 1; };
  ASSERT_TRUE(membership_->WaitForGroup(*before, TimePoint::max(), waiter).has_value());
  membership_->Tick();
  EXPECT_EQ(num_calls, 1);
  Pass(seconds(10));
  EXPECT_EQ(num_calls, 1);
}

// Its thread sleeps for 15 minutes, unless somebody or something wakes it.
class SleepyMembershipTest : public testing::Test {
 protected:
  SleepyMembershipTest() {
    membership_.SetListener([this](const Cluster&) { ++num_ticks_; });
    membership_.Start();
    // What the first probes bring makes a few ticks.
    for (int before = 0; before != num_ticks_;) {
      before = num_ticks_;
      std::this_thread::sleep_for(milliseconds(100));
    }
  }

  void Enter(const Cluster& seen, TimePoint until) {
    const auto count = [this](uint64_t, bool) {
      MutexLock lock(&mutex_);
      ++num_calls_;
      called_.NotifyAll();
    };
    ASSERT_TRUE(membership_.WaitForGroup(seen, until, count).has_value());
  }
  bool WaitForCalls(int num_calls) {
    MutexLock lock(&mutex_);
    return called_.WaitUntil(&mutex_, RealClock().Now() + seconds(30),
                             [&] { return num_calls_ >= num_calls; });
  }

  FakeGroups groups_;
  std::atomic<int> num_ticks_{0};
  Mutex mutex_;
  CondVar called_;
  int num_calls_ SKV_GUARDED_BY(mutex_) = 0;
  Membership membership_{{.probe_interval = std::chrono::hours(1)},
                         MakeStaticWorkerSource({"a:1"}).value(),
                         groups_.factory(),
                         FindPolicy("round_robin").value(),
                         &RealClock()};
};

TEST_F(SleepyMembershipTest, AWaitEndsInTime) {
  Enter(*membership_.snapshot(), RealClock().Now() + milliseconds(100));
  EXPECT_TRUE(WaitForCalls(1));
}

TEST_F(SleepyMembershipTest, MoreWaitersThanOneTickCallsAreCalledWithoutDelay) {
  constexpr int kNumWaiters = 3 * GroupWaiters::kMaxCalls;
  {
    MutexLock lock(&mutex_);  // the first call goes on when all have come
    for (int i = 0; i < kNumWaiters; ++i) Enter(Cluster(), TimePoint::max());
  }
  EXPECT_TRUE(WaitForCalls(kNumWaiters));
}

TEST_F(MembershipTest, TheListMayGrowAndShrinkAndSurvivesAnUnreadableFile) {
  Settle();
  list_ = std::vector<std::string>{"b:2", "c:3"};
  Pass(seconds(2));
  EXPECT_EQ(FindGroup("a:1"), nullptr);
  EXPECT_EQ(NumHealthy(), 2);
  list_ = absl::NotFoundError("workers.txt: cannot be read");
  Pass(seconds(1));
  EXPECT_EQ(NumHealthy(), 2);
}

TEST_F(MembershipTest, AGroupThatLeavesTheListIsWatchedUntilItsStreamsEnd) {
  Settle();
  const auto leaving = FindGroup("a:1");
  std::vector<std::string> lost;
  leaving->Watch([&](const absl::Status& s) { lost.emplace_back(s.message()); });
  list_ = std::vector<std::string>{"b:2"};
  Pass(seconds(10));
  EXPECT_EQ(FindGroup("a:1"), leaving);
  EXPECT_EQ(NumHealthy(), 1);
  EXPECT_EQ(membership_->snapshot()->FindModel("")->num_healthy_groups, 1);
  EXPECT_TRUE(lost.empty());
  groups_["a:1"].silent = true;
  Pass(seconds(4));
  EXPECT_THAT(lost, testing::ElementsAre(HasSubstr("no sign of life")));
  Pass(seconds(2));
  EXPECT_EQ(FindGroup("a:1"), nullptr);
}

TEST_F(MembershipTest, AListThatIsEmptyForAMomentDisturbsNoStream) {
  Settle();
  const auto before = FindGroup("a:1");
  before->outstanding()->fetch_add(5);
  list_ = std::vector<std::string>{};
  Pass(seconds(3));
  EXPECT_EQ(NumHealthy(), 0);
  list_ = std::vector<std::string>{"a:1", "b:2"};
  Pass(seconds(1));
  EXPECT_EQ(FindGroup("a:1"), before);
  EXPECT_EQ(NumHealthy(), 2);
}

TEST_F(MembershipTest, AGroupHasACacheOfItsOwnThatEndsWithItsProcess) {
  Settle();
  const CacheId first = FindCache("a:1");
  EXPECT_NE(first, kNoCache);
  EXPECT_NE(first, FindCache("b:2"));
  const PrefixKey key = RootKey({.model_name = "any"});
  prefixes_->Add(first, {&key, 1});
  Pass(seconds(2));
  EXPECT_EQ(FindCache("a:1"), first);
  EXPECT_EQ(prefixes_->CachedTokens({{key}, {7}}, {&first, 1})[0], 7);

  Report("a:1", /*epoch=*/2);
  Pass(seconds(1));
  const CacheId second = FindCache("a:1");
  EXPECT_NE(second, first);
  EXPECT_NE(second, FindCache("b:2"));
  EXPECT_EQ(prefixes_->CachedTokens({{key}, {7}}, {&first, 1})[0], 0);
}

TEST_F(MembershipTest, ACacheOutlivesATimeOfBadHealthAndEndsWhenItsGroupLeaves) {
  Settle();
  const CacheId cache = FindCache("a:1");
  const PrefixKey key = RootKey({.model_name = "any"});
  prefixes_->Add(cache, {&key, 1});
  groups_["a:1"].probe = absl::UnavailableError("connection refused");
  Pass(seconds(1));
  Report("a:1", /*epoch=*/1);
  Pass(seconds(1));
  EXPECT_EQ(FindCache("a:1"), cache);
  EXPECT_EQ(prefixes_->CachedTokens({{key}, {7}}, {&cache, 1})[0], 7);
  list_ = std::vector<std::string>{"b:2"};
  Pass(seconds(2));
  EXPECT_EQ(prefixes_->CachedTokens({{key}, {7}}, {&cache, 1})[0], 0);
}

TEST_F(MembershipTest, GroupsOfOneStoreHaveOneCacheWhichOutlivesTheirRestarts) {
  Report("a:1", /*epoch=*/1, "host 7");
  Report("b:2", /*epoch=*/5, "host 7");
  Settle();
  const CacheId shared = FindCache("a:1");
  EXPECT_NE(shared, kNoCache);
  EXPECT_EQ(FindCache("b:2"), shared);
  Report("a:1", /*epoch=*/2, "host 7");
  Pass(seconds(1));
  EXPECT_EQ(FindCache("a:1"), shared);
  Report("a:1", /*epoch=*/2, "host 7 again");
  Pass(seconds(1));
  EXPECT_NE(FindCache("a:1"), shared);
  EXPECT_EQ(FindCache("b:2"), shared);
  Report("b:2", /*epoch=*/5, "host 7 again");
  Pass(seconds(1));
  EXPECT_EQ(FindCache("b:2"), FindCache("a:1"));
}

TEST_F(MembershipTest, AModelNamesPrefixesAsSoonAsOneHealthyGroupDoes) {
  groups_["a:1"].info->prefix_naming.reset();
  Settle();
  EXPECT_EQ(NumHealthy(), 2);
  EXPECT_TRUE(membership_->snapshot()->FindModel("")->served->prefix_naming().has_value());
  groups_["b:2"].probe = absl::UnavailableError("connection refused");
  Pass(seconds(1));
  EXPECT_FALSE(membership_->snapshot()->FindModel("")->served->prefix_naming().has_value());
}

TEST_F(MembershipTest, StopsCleanlyWithAProbeUnderWay) {
  FakeGroupClient& group = groups_["a:1"];
  group.silent = true;
  membership_->Start();
  membership_.reset();
  EXPECT_LE(group.unanswered.size(), 1u);
  for (const auto& answer : group.unanswered) answer(group.probe);
  EXPECT_EQ(group.num_fetches, 0);  // the answer was dropped
}

}  // namespace
}  // namespace skv::router
