#include "worker/policy/running_query.h"

#include <gtest/gtest.h>

namespace skv::policy {
namespace {

float Get(const RunningQuery& running) {
  float query;
  running.Get(&query);
  return query;
}

void Add(RunningQuery& running, int sentence_begin, float query) {
  running.Add(sentence_begin, &query);
}

TEST(RunningQueryTest, IsHalfTheMeanOfTheSentenceAndHalfTheNewest) {
  RunningQuery running(1, {});
  Add(running, 0, 2);
  EXPECT_EQ(Get(running), 2.0f);
  Add(running, 0, 6);
  EXPECT_EQ(Get(running), (4.0f + 6.0f) / 2);
}

TEST(RunningQueryTest, ANewSentenceStartsFromThePreviousMean) {
  RunningQuery running(1, {});
  Add(running, 0, 8);
  const float queries[] = {4, 4, 4, 4, 4};
  const float means[] = {7, 6, 5, 4, 4};
  for (int i = 0; i < 5; ++i) {
    Add(running, 10, queries[i]);
    EXPECT_EQ(Get(running), (means[i] + 4) / 2) << i;
  }
}

TEST(RunningQueryTest, AShortSentenceCarriesTheOneBeforeOn) {
  RunningQuery running(1, {});
  Add(running, 0, 16);
  Add(running, 1, 0);  // mean 12
  Add(running, 2, 0);  // mean 9
  EXPECT_EQ(Get(running), (9.0f + 0) / 2);
}

TEST(RunningQueryTest, WithoutCarryingASentenceStartsAnew) {
  RunningQuery running(1, {.carry = false});
  Add(running, 0, 8);
  Add(running, 10, 4);
  EXPECT_EQ(Get(running), 4.0f);
  Add(running, 10, 6);
  EXPECT_EQ(Get(running), (5.0f + 6.0f) / 2);
}

TEST(RunningQueryTest, WithoutTheNewestItIsTheMean) {
  RunningQuery running(1, {.blend_newest = false});
  Add(running, 0, 2);
  Add(running, 0, 6);
  EXPECT_EQ(Get(running), 4.0f);
}

TEST(RunningQueryTest, TheFirstQueryOfASentenceBeginsIt) {
  RunningQuery running(1, {});
  for (const int sentence_begin : {0, 10, 11}) {
    Add(running, sentence_begin, 1);
    EXPECT_TRUE(running.begins_sentence());
  }
  Add(running, 11, 1);
  EXPECT_FALSE(running.begins_sentence());
}

}  // namespace
}  // namespace skv::policy
