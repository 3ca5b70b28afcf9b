#include "worker/policy/sentence_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace skv::policy {
namespace {

using Ranges = std::vector<PositionRange>;

Ranges Choose(const Ranges& sentences, const std::vector<float>& keys, int budget) {
  Ranges chosen;
  ChooseSentences(sentences, keys, budget, &chosen);
  return chosen;
}

TEST(SentenceChoiceTest, TheLastSentenceIsCutAtItsEnd) {
  const Ranges sentences = {{3, 8}, {8, 10}, {10, 20}};
  const std::vector<float> keys = {0.1f, 0.5f, 0.3f};
  EXPECT_EQ(Choose(sentences, keys, 1), (Ranges{{8, 9}}));
  EXPECT_EQ(Choose(sentences, keys, 2), (Ranges{{8, 10}}));
  EXPECT_EQ(Choose(sentences, keys, 6), (Ranges{{8, 10}, {10, 14}}));
  EXPECT_EQ(Choose(sentences, keys, 12), (Ranges{{8, 10}, {10, 20}}));
  EXPECT_EQ(Choose(sentences, keys, 14), (Ranges{{3, 5}, {8, 10}, {10, 20}}));
  EXPECT_EQ(Choose(sentences, keys, 99), sentences);
}

TEST(SentenceChoiceTest, TiesGoToTheSmallerIndexAndEmptySentencesGiveNothing) {
  const Ranges sentences = {{0, 4}, {4, 4}, {4, 8}, {8, 12}};
  EXPECT_EQ(Choose(sentences, {0, 0, 0, 0}, 6), (Ranges{{0, 4}, {4, 6}}));
  EXPECT_EQ(Choose(sentences, {0, 9, 1, 1}, 6), (Ranges{{4, 8}, {8, 10}}));
  EXPECT_EQ(Choose({}, {}, 6), Ranges{});
}

TEST(SentenceChoiceTest, ANanIsAKeyLikeOthers) {
  const float nan = std::nanf("");
  EXPECT_EQ(Choose({{0, 4}, {4, 8}, {8, 12}}, {nan, 1.0f, nan}, 5), (Ranges{{0, 4}, {8, 9}}));
}

TEST(SentenceChoiceTest, ChoosesWhatSortingWould) {
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    const int n = 1 + static_cast<int>(random() % 60);
    Ranges sentences;
    std::vector<float> keys;
    int end = 0;
    for (int i = 0; i < n; ++i) {
      const int length = static_cast<int>(random() % 9);
      sentences.push_back({end, end + length});
      end += length + static_cast<int>(random() % 2);
      keys.push_back(static_cast<float>(random() % 10));
    }
    const int budget = static_cast<int>(random() % 200) + 1;
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return keys[a] > keys[b]; });
    Ranges expected(n);
    int left = budget;
    for (const int i : order) {
      const int taken = std::min(left, sentences[i].end - sentences[i].begin);
      expected[i] = {sentences[i].begin, sentences[i].begin + taken};
      left -= taken;
    }
    std::erase_if(expected, [](const PositionRange& range) { return range.begin == range.end; });
    EXPECT_EQ(Choose(sentences, keys, budget), expected) << "round " << round;
  }
}

}  // namespace
}  // namespace skv::policy
