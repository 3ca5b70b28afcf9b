#include "tools/cli/progress_line.h"

#include "gtest/gtest.h"

namespace skv::cli {
namespace {

TEST(ProgressBarTest, IsAsFullAsWhatIsDone) {
  EXPECT_EQ(ProgressBar(0, 7), "[..............................]   0 %");
  EXPECT_EQ(ProgressBar(1, 2), "[###############...............]  50 %");
  EXPECT_EQ(ProgressBar(9, 7), "[##############################] 100 %") << "more came meanwhile";
  EXPECT_EQ(ProgressBar(3, 0), "");
}

}  // namespace
}  // namespace skv::cli
