#include "router/grpc/group_conversions.h"

#include <limits>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::router {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(GroupConversionsTest, AFinishThatNobodyAskedForIsAnError) {
  const std::pair<worker_pb::FinishReason, const char*> kCases[] = {
      {worker_pb::CANCELLED, "cancelled"},
      {worker_pb::FINISH_REASON_UNSPECIFIED, "reason 0"},
      {static_cast<worker_pb::FinishReason>(77), "reason 77"}};
  for (const auto& [reason, message] : kCases) {
    worker_pb::GenerateEvent event;
    event.mutable_finish()->set_reason(reason);
    const GroupEvent result = FromProto(std::move(event));
    EXPECT_EQ(result.finish->reason, FinishReason::kError);
    EXPECT_THAT(result.finish->message, HasSubstr(message));
  }
}

TEST(GroupConversionsTest, TokensToReplayAreApartFromThePrompt) {
  const worker_pb::GenerateRequest request =
      ToProto({.prompt_ids = {1, 2}, .resume_ids = {3, 4, 5}, .seeds = {7}, .max_tokens = 9});
  EXPECT_THAT(request.prompt_ids(), ElementsAre(1, 2));
  EXPECT_THAT(request.resume_ids(), ElementsAre(3, 4, 5));
  EXPECT_EQ(request.max_tokens(), 9);
}

TEST(GroupConversionsTest, CachedTokensAreThoseOfEventsThatTellThem) {
  worker_pb::GenerateEvent event;
  EXPECT_FALSE(FromProto(worker_pb::GenerateEvent(event)).cached_tokens.has_value());
  event.set_cached_tokens(0);
  EXPECT_EQ(FromProto(worker_pb::GenerateEvent(event)).cached_tokens, 0);
  event.set_cached_tokens(96);
  EXPECT_EQ(FromProto(worker_pb::GenerateEvent(event)).cached_tokens, 96);
}

TEST(GroupConversionsTest, AHostileLoadReportIsClampedToWhatCanBeAdded) {
  worker_pb::LoadReport report;
  report.set_queued_tokens(std::numeric_limits<int64_t>::max());
  report.set_running_tokens(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(FromProto(report).unfinished_tokens, int64_t{2} << 40);
  report.set_queued_tokens(std::numeric_limits<int64_t>::min());
  report.set_running_tokens(7);
  EXPECT_EQ(FromProto(report).unfinished_tokens, 7);
}

TEST(GroupConversionsTest, ALoadReportNamesItsStore) {
  worker_pb::LoadReport report;
  EXPECT_EQ(FromProto(report).store_id, "");
  report.set_store_id("host 7");
  report.set_store_watch_address("host7:9400");
  EXPECT_EQ(FromProto(report).store_id, "host 7");
  EXPECT_EQ(FromProto(report).store_watch_address, "host7:9400");
  report.set_store_id(std::string(100'000, 'x'));
  report.set_store_watch_address(std::string(100'000, 'x'));
  EXPECT_EQ(FromProto(report).store_id, "");
  EXPECT_EQ(FromProto(report).store_watch_address, "");
}

TEST(GroupConversionsTest, PrefixesAreNamedOnlyWhereTheWorkerSaysHow) {
  worker_pb::ModelInfo info;
  EXPECT_FALSE(FromProto(worker_pb::ModelInfo(info)).prefix_naming.has_value());
  worker_pb::PrefixNaming* const naming = info.mutable_prefix_naming();
  naming->set_model_name("file");
  naming->set_model_revision("f1");
  naming->set_segmenter_id("sentences-1");
  naming->add_kv_policies("full");
  naming->add_computed_tokens(1);
  EXPECT_EQ(FromProto(worker_pb::ModelInfo(info)).prefix_naming,
            (PrefixNaming{"file", "f1", "sentences-1", {"full"}, {1}}));
}

}  // namespace
}  // namespace skv::router
