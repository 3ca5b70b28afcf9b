#include "worker/scheduler/batch.h"

#include <tuple>
#include <vector>

#include "gtest/gtest.h"

namespace skv::scheduler {
namespace {

TEST(BatchTest, SharesAStep) {
  const Backlog decode{.generated_tokens = 1};
  const struct {
    const char* why;
    std::vector<Backlog> backlogs;
    BatchLimits limits;
    std::vector<std::tuple<int, int, int>> shares;  // sequence_idx, prompt, generated
  } kCases[] = {
      {"nothing to do", {{}, {}}, {64, 64}, {}},
      {"decodes come before a prefill of higher rank",
       {{100, 0}, decode, decode},
       {64, 64},
       {{1, 0, 1}, {2, 0, 1}, {0, 62, 0}}},
      {"several prefills share what is left",
       {{30, 0}, {100, 0}, {5, 0}},
       {64, 64},
       {{0, 30, 0}, {1, 34, 0}}},
      {"a chunk is capped so that others get on",
       {{100, 0}, {100, 0}, {100, 0}},
       {64, 24},
       {{0, 24, 0}, {1, 24, 0}, {2, 16, 0}}},
      {"the end of a prompt and a replay share the cap", {{10, 50}}, {64, 24}, {{0, 10, 14}}},
      {"decodes of higher rank fill a step",
       {decode, decode, {10, 0}, decode},
       {2, 2},
       {{0, 0, 1}, {1, 0, 1}}},
      {"a replay waits behind decodes", {{0, 50}, decode}, {8, 8}, {{1, 0, 1}, {0, 0, 7}}},
      {"a prompt's last token with one to replay is no decode",
       {{1, 1}, decode},
       {2, 2},
       {{1, 0, 1}, {0, 1, 0}}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    std::vector<std::tuple<int, int, int>> shares;
    for (const Share& share : ShareStep(c.backlogs, c.limits)) {
      shares.emplace_back(share.sequence_idx, share.prompt_tokens, share.generated_tokens);
    }
    EXPECT_EQ(shares, c.shares);
  }
}

}  // namespace
}  // namespace skv::scheduler
