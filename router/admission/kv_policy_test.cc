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

const KvPolicyOffer kBoth{
    .default_policy = {.name = "full", .max_capacity_prompts = 512, .semantic_factor = 2},
    .allowed = {"full", "sentencekv"}};

TEST(ResolveKvPolicyTest, WhatIsNotSetIsTheWorkersDefault) {
  EXPECT_EQ(ResolveKvPolicy({}, kBoth)->name, "full");
  EXPECT_EQ(*ResolveKvPolicy({.name = "sentencekv"}, kBoth), (KvPolicy{"sentencekv", 512, 2}));
  EXPECT_EQ(*ResolveKvPolicy({.name = "sentencekv", .max_capacity_prompts = 64}, kBoth),
            (KvPolicy{"sentencekv", 64, 2}));
  KvPolicyOffer offer = kBoth;
  offer.default_policy.name = "sentencekv";
  EXPECT_EQ(*ResolveKvPolicy({.semantic_factor = 0}, offer), (KvPolicy{"sentencekv", 512, 0}));
}

TEST(ResolveKvPolicyTest, TheEndsOfEveryRangePass) {
  for (const int64_t budget : {16, 1 << 24}) {
    for (const double factor : {0.0, 1.0, 1e6}) {
      EXPECT_EQ(*ResolveKvPolicy({"sentencekv", budget, factor}, kBoth),
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
      {{.name = "fulll"}, "name", "\"fulll\"", "one of full, sentencekv"},
      {{.name = std::string(1 << 20, 'x')}, "name", "\"xxx", "one of full, sentencekv"},
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
      {{"", 64}, "max_capacity_prompts", "64", "\"full\", the workers' default, has no"}};
  for (const auto& c : kCases) {
    const absl::StatusOr<KvPolicy> policy = ResolveKvPolicy(c.request, kBoth);
    EXPECT_THAT(policy,
                StatusIs(StatusCode::kInvalidArgument,
                         AllOf(StartsWith(std::string("kv_policy.") + c.field + ": got " + c.got),
                               HasSubstr(c.expected))));
    EXPECT_LT(policy.status().message().size(), 250u);
  }
}

TEST(ResolveKvPolicyTest, APolicyThatTheWorkersForbidIsDenied) {
  const KvPolicyOffer offer{.default_policy = {"sentencekv", 64, 0}, .allowed = {"sentencekv"}};
  EXPECT_OK(ResolveKvPolicy({}, offer));
  EXPECT_THAT(ResolveKvPolicy({.name = "full"}, offer),
              StatusIs(StatusCode::kPermissionDenied,
                       AllOf(HasSubstr("got \"full\""), HasSubstr("allow: sentencekv"))));
}

TEST(ValidateOfferTest, AnOfferThatNoWorkerMakesIsRefused) {
  EXPECT_OK(ValidateOffer(kBoth));
  const KvPolicyOffer kBad[] = {{.default_policy = {}, .allowed = {}},
                                {.default_policy = {}, .allowed = {"sentencekv"}},
                                {.default_policy = {}, .allowed = {"full", "other"}},
                                {.default_policy = {.name = ""}, .allowed = {"full"}},
                                {.default_policy = {"full", 0, 0}, .allowed = {"full"}},
                                {.default_policy = {"full", 16, 0.5}, .allowed = {"full"}}};
  for (const KvPolicyOffer& offer : kBad) {
    EXPECT_THAT(ValidateOffer(offer),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("KV polic")));
  }
}

}  // namespace
}  // namespace skv::router
