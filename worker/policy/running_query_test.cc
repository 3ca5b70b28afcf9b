#include "worker/policy/running_query.h"

#include <gtest/gtest.h>

namespace skv::policy {
namespace {

float Mean(const RunningQuery& running) {
  float mean;
  running.Mean(&mean);
  return mean;
}

void Add(RunningQuery& running, int sentence_begin, float query) {
  running.Add(sentence_begin, &query);
}

TEST(RunningQueryTest, IsTheMeanOfTheSentence) {
  RunningQuery running(1);
  Add(running, 0, 2);
  EXPECT_EQ(Mean(running), 2.0f);
  Add(running, 0, 6);
  EXPECT_EQ(Mean(running), 4.0f);
}

TEST(RunningQueryTest, ANewSentenceStartsFromThePreviousMean) {
  RunningQuery running(1);
  Add(running, 0, 8);
  const float queries[] = {4, 4, 4, 4, 4};
  const float expected[] = {7, 6, 5, 4, 4};
  for (int i = 0; i < 5; ++i) {
    Add(running, 10, queries[i]);
    EXPECT_EQ(Mean(running), expected[i]) << i;
  }
}

TEST(RunningQueryTest, AShortSentenceCarriesTheOneBeforeOn) {
  RunningQuery running(1);
  Add(running, 0, 16);
  Add(running, 1, 0);  // 12
  Add(running, 2, 0);  // 9
  EXPECT_EQ(Mean(running), 9.0f);
}

}  // namespace
}  // namespace skv::policy
