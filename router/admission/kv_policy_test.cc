#include "router/admission/kv_policy.h"

#include <cmath>
#include <limits>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::router {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// `window` stands for every policy that has a budget alone.
const KvPolicyOffer kOffer{
    .default_name = "full",
    .policies = {{"full"}, {"window", 512}, {"sentencekv", 512, 2}},
};

TEST(ResolveKvPolicyTest, WhatIsNotSetIsTheWorkersDefault) {
  EXPECT_EQ(*ResolveKvPolicy({}, kOffer), KvPolicy{"full"});
  EXPECT_EQ(*ResolveKvPolicy({.name = "window"}, kOffer), (KvPolicy{"window", 512}));
  EXPECT_EQ(*ResolveKvPolicy({.name = "sentencekv"}, kOffer), (KvPolicy{"sentencekv", 512, 2}));
  EXPECT_EQ(*ResolveKvPolicy({.name = "sentencekv", .max_capacity_prompts = 64}, kOffer),
            (KvPolicy{"sentencekv", 64, 2}));
  KvPolicyOffer offer = kOffer;
  offer.default_name = "sentencekv";
  EXPECT_EQ(*ResolveKvPolicy({.semantic_factor = 0}, offer), (KvPolicy{"sentencekv", 512, 0}));
}

TEST(ResolveKvPolicyTest, TheEndsOfEveryRangePass) {
  for (const int64_t budget : {16, 1 << 24}) {
    for (const double factor : {0.0, 1.0, 1e6}) {
      EXPECT_EQ(*ResolveKvPolicy({"sentencekv", budget, factor}, kOffer),
                (KvPolicy{"sentencekv", static_cast<int32_t>(budget), factor}));
    }
  }
}

TEST(ResolveKvPolicyTest, BadOnesAreRefusedByName) {
  const struct {
    KvPolicyRequest request;
    const char* field;
    const char* got;
    const char* expected;
  } kCases[] = {
      {{.name = "fulll"}, "name", "\"fulll\"", "allow: full, window, sentencekv ("},
      {{.name = std::string(1 << 20, 'x')}, "name", "\"xxx", "allow: full, window, sentencekv ("},
      {{"sentencekv", 15}, "max_capacity_prompts", "15", "16 to 16777216"},
      {{"sentencekv", (1 << 24) + 1}, "max_capacity_prompts", "16777217", "16 to 16777216"},
      {{"sentencekv", std::numeric_limits<int64_t>::min()},
       "max_capacity_prompts",
       "-92233",
       "16 to"},
      {{"sentencekv", 16, 0.5}, "semantic_factor", "0.5", "0 (no filter) or 1 to 1000000"},
      {{"sentencekv", 16, -1}, "semantic_factor", "-1", "0 (no filter) or 1 to 1000000"},
      {{"sentencekv", 16, 1.1e6}, "semantic_factor", "1.1e+06", "0 (no filter) or 1 to 1000000"},
      {{"sentencekv", 16, std::nan("")}, "semantic_factor", "nan", "0 (no filter) or 1 to"},
      {{"sentencekv", 16, INFINITY}, "semantic_factor", "inf", "0 (no filter) or 1 to"},
      {{"full", 64}, "max_capacity_prompts", "64", "no effect"},
      {{.name = "full", .semantic_factor = 0}, "semantic_factor", "0", "no effect"},
      {{"window", 64, 2}, "semantic_factor", "2", "\"window\" does not have it"},
      {{"", 64}, "max_capacity_prompts", "64", "\"full\", the workers' default, does not"}};
  for (const auto& c : kCases) {
    const absl::StatusOr<KvPolicy> policy = ResolveKvPolicy(c.request, kOffer);
    EXPECT_THAT(policy,
                StatusIs(StatusCode::kInvalidArgument,
                         AllOf(StartsWith(std::string("kv_policy.") + c.field + ": got " + c.got),
                               HasSubstr(c.expected))));
    EXPECT_LT(policy.status().message().size(), 250u);
  }
}

TEST(ResolveKvPolicyTest, APolicyThatTheWorkersForbidIsRefused) {
  const KvPolicyOffer offer{.default_name = "sentencekv", .policies = {{"sentencekv", 64, 0}}};
  EXPECT_OK(ResolveKvPolicy({}, offer));
  EXPECT_THAT(ResolveKvPolicy({.name = "full"}, offer),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("got \"full\""), HasSubstr("allow: sentencekv"))));
}

TEST(ValidateOfferTest, AnOfferThatNoWorkerMakesIsRefused) {
  EXPECT_OK(ValidateOffer(kOffer));
  const KvPolicyOffer kBad[] = {{.default_name = "full", .policies = {}},
                                {.default_name = "full", .policies = {{"window", 16}}},
                                {.default_name = "", .policies = {{"full"}}},
                                {.default_name = "", .policies = {{""}}},
                                {.default_name = "full", .policies = {{"full"}, {"window", 15}}},
                                {.default_name = "full", .policies = {{"full", 16, 0.5}}}};
  for (const KvPolicyOffer& offer : kBad) {
    EXPECT_THAT(ValidateOffer(offer),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("KV polic")));
  }
}

TEST(DescribeTest, NamesTheDefaultAndEveryParameter) {
  EXPECT_EQ(Describe(kOffer),
            "KV policy full of full, window (max_capacity_prompts 512), "
            "sentencekv (max_capacity_prompts 512, semantic_factor 2)");
}

}  // namespace
}  // namespace skv::router
