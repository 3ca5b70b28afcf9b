#include "worker/server/conversions.h"

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::server {
namespace {

using testing::HasSubstr;

// Of 128 elements of 2 bytes.
constexpr policy::KvHeads kHeads{.count = 6, .entry_bytes = 512};

TEST(ConversionsTest, TheKvPolicyOfARequestCountsAsItStands) {
  worker::v1::GenerateRequest proto;
  proto.mutable_sampling();
  EXPECT_THAT(ToRequest(proto), StatusIs(absl::StatusCode::kInvalidArgument,
                                         HasSubstr("kv_policy: missing; the router fills in")));
  *proto.mutable_kv_policy() = ToProto(policy::PolicyParams{"sentencekv", 64, 2.5});
  EXPECT_EQ(ToRequest(proto)->policy, (policy::PolicyParams{"sentencekv", 64, 2.5}));
  *proto.mutable_kv_policy() = ToProto(policy::PolicyParams{"full", 64, 2.5});
  EXPECT_EQ(ToRequest(proto)->policy, policy::PolicyParams());
  proto.clear_sampling();
  EXPECT_THAT(ToRequest(proto),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sampling: missing")));
}

TEST(ConversionsTest, AParameterMoreOrLessThanThePolicyHasIsRefused) {
  worker::v1::GenerateRequest proto;
  proto.mutable_sampling();
  proto.mutable_kv_policy()->set_name("full");
  EXPECT_OK(ToRequest(proto));
  proto.mutable_kv_policy()->set_semantic_factor(0);
  EXPECT_THAT(
      ToRequest(proto),
      StatusIs(
          absl::StatusCode::kInvalidArgument,
          HasSubstr("kv_policy.semantic_factor: got one, expected none with policy \"full\"")));
  proto.mutable_kv_policy()->set_name("sentencekv");
  EXPECT_THAT(ToRequest(proto),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("kv_policy.max_capacity_prompts: got none, expected one")));
}

TEST(ConversionsTest, TheCacheSaltReachesTheEngine) {
  worker::v1::GenerateRequest proto;
  proto.mutable_sampling();
  proto.mutable_kv_policy()->set_name("full");
  EXPECT_EQ(ToRequest(proto)->cache_salt, "");
  proto.set_cache_salt("tenant 7");
  EXPECT_EQ(ToRequest(proto)->cache_salt, "tenant 7");
}

TEST(ConversionsTest, CachedTokensGoWithTheFirstTokenOrTheFinishOfASampleWithoutOne) {
  engine::TokenEvent token{};
  token.num_cached_tokens = 96;
  EXPECT_FALSE(ToProto(token).has_cached_tokens());
  token.timings.emplace();
  EXPECT_EQ(ToProto(token).cached_tokens(), 96);
  token.num_cached_tokens = 0;
  EXPECT_TRUE(ToProto(token).has_cached_tokens());

  engine::FinishEvent finish{.sample_idx = 0, .reason = engine::FinishReason::kLength};
  finish.num_cached_tokens = 96;
  EXPECT_EQ(ToProto(finish, {}, kHeads).cached_tokens(), 96);
  finish.num_generated_tokens = 1;
  EXPECT_FALSE(ToProto(finish, {}, kHeads).has_cached_tokens());
}

TEST(ConversionsTest, AFinishReportsMeansOverPositionsAndHeads) {
  engine::FinishEvent event{.sample_idx = 2, .reason = engine::FinishReason::kLength};
  event.kv_use = {.positions = 5,
                  .attended = 5 * 6 * 10,
                  .visible = 5 * 6 * 40,
                  .scanned = 5 * 6 * 20,
                  .scanned_beside = 5 * 6 * 8,
                  .sketch_bytes = 5 * 6 * 512,
                  .index_bytes = 5 * 6 * 1024};
  event.policy_fingerprint = "f";
  const worker::v1::KvReport report = ToProto(event, {"sentencekv", 64, 2.5}, kHeads).kv_report();
  EXPECT_EQ(report.policy().name(), "sentencekv");
  EXPECT_EQ(report.policy().max_capacity_prompts(), 64);
  EXPECT_EQ(report.policy().semantic_factor(), 2.5);
  EXPECT_EQ(report.fingerprint(), "f");
  EXPECT_EQ(report.generated_positions(), 5);
  EXPECT_EQ(report.attended_tokens(), 10);
  EXPECT_EQ(report.choosing_tokens(), 8 / 2 + 1 + 2);
  EXPECT_EQ(report.visible_tokens(), 40);
  EXPECT_EQ(report.read_share(), (10 + 7) / 40.0);
}

TEST(ConversionsTest, AFinishReportsWhatMinRecallTook) {
  worker::v1::GenerateRequest proto;
  proto.mutable_sampling();
  *proto.mutable_kv_policy() = ToProto(policy::PolicyParams{"sentencekv", 64, 2.5});
  proto.set_min_recall(0.75);
  const policy::PolicyParams params = ToRequest(proto)->policy;
  EXPECT_EQ(params, (policy::PolicyParams{"sentencekv", 64, 2.5, 0.75}));
  engine::FinishEvent event{.sample_idx = 0, .reason = engine::FinishReason::kLength};
  event.recall = {.checked = 30, .widened = 20, .full = 10};
  const worker::v1::KvReport report = ToProto(event, params, kHeads).kv_report();
  EXPECT_EQ(report.recall().min_recall(), 0.75);
  EXPECT_EQ(report.recall().checked(), 30);
  EXPECT_EQ(report.recall().widened(), 20);
  EXPECT_EQ(report.recall().full(), 10);
  EXPECT_FALSE(ToProto(event, {"sentencekv", 64, 2.5}, kHeads).kv_report().has_recall());
}

TEST(ConversionsTest, ExplanationsGoWithTheTokenThatEndedTheirSentenceOrTheFinish) {
  const engine::Explanation explanation = {
      .begin = 3, .end = 9, .reads = {{.begin = 5, .end = 8, .score = 0.5, .heads_share = 0.25}}};
  engine::TokenEvent token{};
  token.explanations = {explanation, explanation};
  EXPECT_EQ(ToProto(token).explanations_size(), 2);
  engine::FinishEvent finish{.sample_idx = 0, .reason = engine::FinishReason::kLength};
  EXPECT_EQ(ToProto(finish, {}, kHeads).explanations_size(), 0);
  finish.explanation = explanation;
  const worker::v1::GenerateEvent event = ToProto(finish, {}, kHeads);
  ASSERT_EQ(event.explanations_size(), 1);
  EXPECT_EQ(event.explanations(0).token_begin(), 3);
  EXPECT_EQ(event.explanations(0).token_end(), 9);
  ASSERT_EQ(event.explanations(0).reads_size(), 1);
  EXPECT_EQ(event.explanations(0).reads(0).token_begin(), 5);
  EXPECT_EQ(event.explanations(0).reads(0).token_end(), 8);
  EXPECT_EQ(event.explanations(0).reads(0).score(), 0.5);
  EXPECT_EQ(event.explanations(0).reads(0).heads_share(), 0.25);
}

TEST(ConversionsTest, ASampleThatComputedNoPositionReadEverythingOfNothing) {
  const engine::FinishEvent event{.sample_idx = 0, .reason = engine::FinishReason::kLength};
  const worker::v1::KvReport report = ToProto(event, {}, kHeads).kv_report();
  EXPECT_EQ(report.generated_positions(), 0);
  EXPECT_EQ(report.attended_tokens(), 0);
  EXPECT_EQ(report.read_share(), 1);
}

}  // namespace
}  // namespace skv::server
