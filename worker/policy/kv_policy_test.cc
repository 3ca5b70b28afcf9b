#include "worker/policy/kv_policy.h"

#include "common/testing/status_matchers.h"

namespace skv::policy {
namespace {

TEST(KvPolicyTest, FullAttendsEverything) {
  ASSERT_OK_AND_ASSIGN(const auto policy, CreatePolicy("full"));
  std::vector<PositionRange> attended;
  policy->Select(/*layer=*/1, /*kv_head=*/2, /*num_visible=*/17, &attended);
  EXPECT_EQ(attended, (std::vector<PositionRange>{{0, 17}}));
  EXPECT_TRUE(policy->attends_all());
}

TEST(KvPolicyTest, AnUnknownPolicyIsNamed) {
  EXPECT_THAT(CreatePolicy("fulll"), StatusIs(absl::StatusCode::kInvalidArgument,
                                              testing::HasSubstr("\"fulll\" is unknown")));
}

}  // namespace
}  // namespace skv::policy
