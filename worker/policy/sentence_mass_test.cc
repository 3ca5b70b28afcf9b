#include "worker/policy/sentence_mass.h"

#include <gtest/gtest.h>

#include <numeric>

namespace skv::policy {
namespace {

TEST(SentenceMassTest, AQueryKnowsOnlySentencesThatAreProven) {
  AttentionMass mass;
  mass.num_visible = 300;
  mass.cumulative.resize(301);
  std::iota(mass.cumulative.begin(), mass.cumulative.end(), 0.0);
  std::vector<Sentence> sentences = {{0, 100, 100}, {100, 290, 299}, {290, 295, 300}};
  const SentenceView view = ViewSentences(mass, sentences, BudgetSplit(64));
  ASSERT_EQ(view.sentences.size(), 2u);
  EXPECT_EQ(view.recent, 16);  // more than the 10 tokens of the unfinished one
  EXPECT_EQ(view.sentences[0].range, (PositionRange{8, 100}));
  EXPECT_EQ(view.sentences[0].mass, 92);
  EXPECT_EQ(view.sentences[1].range, (PositionRange{100, 284}));
  sentences.resize(1);
  EXPECT_EQ(ViewSentences(mass, sentences, BudgetSplit(64)).recent, 56);
  EXPECT_EQ(ViewSentences(mass, {}, BudgetSplit(64)).recent, 56);
}

}  // namespace
}  // namespace skv::policy
