#include "worker/scheduler/scheduler_options.h"

#include <utility>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::scheduler {
namespace {

using testing::HasSubstr;

TEST(SchedulerOptionsTest, ValidateNamesTheFlag) {
  constexpr SchedulerOptions kValid{
      .capacity_tokens = 100, .max_num_seqs = 4, .max_num_batched_tokens = 16};
  EXPECT_OK(kValid.Validate());
  const auto with = [&](auto change) {
    SchedulerOptions options = kValid;
    change(&options);
    return options;
  };
  const std::pair<const char*, SchedulerOptions> kCases[] = {
      {"--kv-cache-memory-bytes", with([](SchedulerOptions* o) { o->capacity_tokens = 0; })},
      {"unit_tokens is 0", with([](SchedulerOptions* o) { o->unit_tokens = 0; })},
      {"page_tokens is 0", with([](SchedulerOptions* o) { o->page_tokens = 0; })},
      {"--max-num-seqs is -1", with([](SchedulerOptions* o) { o->max_num_seqs = -1; })},
      {"max_chunk_tokens is 0", with([](SchedulerOptions* o) { o->max_chunk_tokens = 0; })},
      {"--max-queue is 0", with([](SchedulerOptions* o) { o->max_queue = 0; })},
      {"--max-num-batched-tokens is 3, expected at least --max-num-seqs, 4",
       with([](SchedulerOptions* o) { o->max_num_batched_tokens = 3; })},
  };
  for (const auto& [message, options] : kCases) {
    EXPECT_THAT(options.Validate(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }
}

}  // namespace
}  // namespace skv::scheduler
