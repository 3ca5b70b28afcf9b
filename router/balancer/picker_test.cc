#include "router/balancer/picker.h"

#include <map>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::router {
namespace {

using testing::HasSubstr;

Candidate MakeCandidate(GroupId id, int64_t reported, int64_t own_at_report, int64_t own_now) {
  return {id, reported, own_at_report, std::make_shared<OutstandingTokens>(own_now)};
}

std::shared_ptr<const Picker> MakePicker(std::string_view policy,
                                         std::vector<Candidate> candidates) {
  return FindPolicy(policy).value()(std::move(candidates));
}

std::optional<GroupId> PickGroup(const Picker& picker, const std::vector<GroupId>& excluded,
                                 uint64_t sequence) {
  const std::optional<PickResult> result =
      picker.Pick({.excluded = excluded, .sequence = sequence});
  return result.has_value() ? std::optional(result->group_id) : std::nullopt;
}

constexpr const char* kPolicies[] = {"round_robin", "least_outstanding_tokens", "prefix_aware"};

TEST(PickerTest, UnknownPolicyIsRefusedByName) {
  EXPECT_THAT(FindPolicy("fastest"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"fastest\""), HasSubstr("round_robin"))));
}

TEST(PickerTest, NoCandidateLeftIsNoChoice) {
  for (const char* policy : kPolicies) {
    SCOPED_TRACE(policy);
    EXPECT_EQ(PickGroup(*MakePicker(policy, {}), {}, 7), std::nullopt);
    const auto picker = MakePicker(policy, {MakeCandidate(3, 0, 0, 0), MakeCandidate(5, 0, 0, 0)});
    EXPECT_EQ(PickGroup(*picker, {5, 3}, 7), std::nullopt);
  }
}

TEST(PickerTest, AnExcludedGroupIsNeverPicked) {
  for (const char* policy : kPolicies) {
    SCOPED_TRACE(policy);
    const auto picker =
        MakePicker(policy, {MakeCandidate(3, 0, 0, 0), MakeCandidate(5, 900, 0, 0)});
    for (uint64_t sequence = 0; sequence < 10; ++sequence) {
      EXPECT_EQ(PickGroup(*picker, {3}, sequence), 5);
    }
  }
}

TEST(PickerTest, RoundRobinTakesEachInTurn) {
  const auto picker = MakePicker(
      "round_robin",
      {MakeCandidate(2, 99, 0, 0), MakeCandidate(4, 0, 0, 0), MakeCandidate(6, 0, 0, 0)});
  std::vector<GroupId> picked;
  for (uint64_t sequence = 0; sequence < 6; ++sequence) {
    picked.push_back(*PickGroup(*picker, {}, sequence));
  }
  EXPECT_THAT(picked, testing::ElementsAre(2, 4, 6, 2, 4, 6));
}

TEST(PickerTest, LeastOutstandingWeighsReportAndOwnCount) {
  const struct {
    const char* why;
    std::vector<Candidate> candidates;
    GroupId expected;
  } kCases[] = {
      {"fewer reported tokens win", {MakeCandidate(1, 500, 0, 0), MakeCandidate(2, 400, 0, 0)}, 2},
      {"tokens sent since the report count",
       {MakeCandidate(1, 300, 0, 0), MakeCandidate(2, 200, 100, 300)},
       1},
      {"tokens received since the report count",
       {MakeCandidate(1, 300, 250, 50), MakeCandidate(2, 200, 0, 0)},
       1},
      {"own tokens count where the report knows nothing yet",
       {MakeCandidate(1, 0, 0, 80), MakeCandidate(2, 0, 0, 70)},
       2},
      {"the load of other routers counts",
       {MakeCandidate(1, 1000, 100, 100), MakeCandidate(2, 100, 100, 150)},
       2}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    for (uint64_t sequence = 0; sequence < 2; ++sequence) {
      for (const char* policy : {"least_outstanding_tokens", "prefix_aware"}) {
        SCOPED_TRACE(policy);
        EXPECT_EQ(PickGroup(*MakePicker(policy, c.candidates), {}, sequence), c.expected);
      }
    }
  }
}

TEST(PickerTest, EqualLoadsAreSharedInTurn) {
  for (const char* policy : {"least_outstanding_tokens", "prefix_aware"}) {
    SCOPED_TRACE(policy);
    const auto picker = MakePicker(policy, {MakeCandidate(1, 0, 0, 0), MakeCandidate(2, 0, 0, 0)});
    std::map<GroupId, int> picked;
    for (uint64_t sequence = 0; sequence < 10; ++sequence) {
      ++picked[*PickGroup(*picker, {}, sequence)];
    }
    EXPECT_EQ(picked, (std::map<GroupId, int>{{1, 5}, {2, 5}}));
  }
}

TEST(PickerTest, ASnapshotSeesTheLiveCount) {
  auto outstanding = std::make_shared<OutstandingTokens>(0);
  const auto picker =
      MakePicker("least_outstanding_tokens", {{1, 0, 0, outstanding}, MakeCandidate(2, 10, 0, 0)});
  EXPECT_EQ(PickGroup(*picker, {}, 1), 1);
  outstanding->store(11);
  EXPECT_EQ(PickGroup(*picker, {}, 1), 2);
}

}  // namespace
}  // namespace skv::router
