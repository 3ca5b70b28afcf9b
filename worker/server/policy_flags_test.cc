#include "worker/server/policy_flags.h"

#include <sstream>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::server {
namespace {

using testing::HasSubstr;

// Parses `arguments` into an offer; exit code 0 when they were taken.
int Parse(const std::vector<std::string>& arguments, PolicyOffer* offer) {
  Flags flags("skv-test", "");
  AddPolicyFlags(offer, &flags);
  std::ostringstream out;
  return flags.Parse(arguments, out, out).value_or(0);
}

TEST(PolicyFlagsTest, WithoutFlagsEveryPolicyIsAllowedAndFullTheDefault) {
  PolicyOffer offer;
  ASSERT_EQ(Parse({}, &offer), 0);
  EXPECT_OK(Validate(offer));
  EXPECT_EQ(offer.default_policy, policy::PolicyParams());
  EXPECT_THAT(offer.allowed, testing::ElementsAreArray(policy::PolicyNames()));
}

TEST(PolicyFlagsTest, AnotherProcessReadsTheSameFromTheArguments) {
  PolicyOffer offer, copy;
  offer.default_policy = {"sentencekv", 64, 2.5};
  offer.allowed = {"sentencekv"};
  offer.audit_fraction = 0.25;
  ASSERT_EQ(Parse(ToArguments(offer), &copy), 0);
  EXPECT_EQ(copy.default_policy, offer.default_policy);
  EXPECT_EQ(copy.allowed, offer.allowed);
  EXPECT_EQ(copy.audit_fraction, offer.audit_fraction);
}

TEST(PolicyFlagsTest, ValuesOutOfRangeAreRefused) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--kv-policy", "fulll"},
                                             {"--max-capacity-prompts", "15"},
                                             {"--max-capacity-prompts", "16777217"},
                                             {"--semantic-factor", "-1"},
                                             {"--semantic-factor", "1e7"},
                                             {"--audit-fraction", "-0.1"},
                                             {"--audit-fraction", "1.1"}}) {
    PolicyOffer offer;
    EXPECT_EQ(Parse(arguments, &offer), Flags::kUsageExitCode) << arguments[0] << arguments[1];
  }
}

TEST(PolicyFlagsTest, FlagsThatDoNotGoTogetherAreNamed) {
  const PolicyOffer half{.default_policy = {"sentencekv", 64, 0.5}};
  EXPECT_THAT(Validate(half), StatusIs(absl::StatusCode::kInvalidArgument,
                                       HasSubstr("--semantic-factor: kv_policy.semantic_factor")));
  const PolicyOffer unknown{.allowed = {"full", "other"}};
  EXPECT_THAT(Validate(unknown),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--allowed-kv-policies: kv_policy.name: \"other\"")));
  for (const std::vector<std::string>& allowed : {std::vector<std::string>{"sentencekv"}, {}}) {
    EXPECT_THAT(Validate({.allowed = allowed}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--kv-policy: got full")));
  }
}

}  // namespace
}  // namespace skv::server
