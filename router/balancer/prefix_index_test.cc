#include "router/balancer/prefix_index.h"

#include <numeric>

#include "common/prefix_sample.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/balancer/testing/numbered_chain.h"

namespace skv::router {
namespace {

using testing::ElementsAre;

// Sentences have 10 tokens.
class PrefixIndexTest : public testing::Test {
 protected:
  PrefixIndexTest() { SetCaches({1, 2, 3}); }
  void SetCaches(std::vector<CacheId> caches) { index_.SetCaches(caches); }
  std::vector<int64_t> Cached(const PrefixChain& prompt, std::vector<CacheId> caches = {1, 2, 3}) {
    return index_.CachedTokens(prompt, caches);
  }

  PrefixIndex index_{100'000};
};

TEST_F(PrefixIndexTest, EachCacheHasAsMuchAsItsDeepestKeySays) {
  index_.AddPrompt(1, NumberedChain({{0, 3}, {50, 5}}));
  index_.AddPrompt(2, NumberedChain({{0, 5}}));
  EXPECT_THAT(Cached(NumberedChain({{0, 9}})), ElementsAre(30, 50, 0));
  EXPECT_THAT(Cached(NumberedChain({{0, 3}, {50, 9}})), ElementsAre(80, 30, 0));
  EXPECT_THAT(Cached(NumberedChain({{7, 9}})), ElementsAre(0, 0, 0));
  EXPECT_THAT(Cached({}), ElementsAre(0, 0, 0));
}

TEST_F(PrefixIndexTest, OneDeepKeyStandsForAllBeforeIt) {
  const PrefixChain prompt = NumberedChain({{0, 20}});
  index_.Add(3, std::span(prompt.keys).subspan(16, 1));
  EXPECT_THAT(Cached(prompt), ElementsAre(0, 0, 170));
  index_.Remove(2, std::span(prompt.keys).subspan(16, 1));
  EXPECT_THAT(Cached(prompt), ElementsAre(0, 0, 170));
  index_.Remove(3, std::span(prompt.keys).subspan(16, 1));
  EXPECT_THAT(Cached(prompt), ElementsAre(0, 0, 0));
}

TEST_F(PrefixIndexTest, LongPromptsAreSampledAndFoundToTheLastSampleTheyShare) {
  index_.AddPrompt(1, NumberedChain({{0, 1000}}));
  EXPECT_EQ(index_.stats().num_keys, 8u + 124u + 1);
  EXPECT_THAT(Cached(NumberedChain({{0, 1000}})), ElementsAre(10'000, 0, 0));
  EXPECT_THAT(Cached(NumberedChain({{0, 1000}, {5000, 100}})), ElementsAre(10'000, 0, 0));
  EXPECT_THAT(Cached(NumberedChain({{0, 903}, {5000, 100}})), ElementsAre(8'970, 0, 0));
}

TEST_F(PrefixIndexTest, VeryLongPromptsAreSampledMoreThinly) {
  index_.AddPrompt(1, NumberedChain({{0, 20'000}}));
  EXPECT_EQ(index_.stats().num_keys, 8u + 511u + (20'000u - 4096u) / 64 + 1 + 1);
  EXPECT_THAT(Cached(NumberedChain({{0, 20'000}})), ElementsAre(200'000, 0, 0));
  EXPECT_THAT(Cached(NumberedChain({{0, 10'000}, {50'000, 9'000}})),
              ElementsAre(10'000 / 64 * 640 + 10, 0, 0));
  EXPECT_THAT(Cached(NumberedChain({{0, 4095}, {50'000, 9'000}})), ElementsAre(40'890, 0, 0));
}

// As a store that is followed evicts: from the end to the beginning, telling of what it had told
// of. It had not told of the prompt's last key, the 20th, since that was one of many to it.
TEST_F(PrefixIndexTest, WhatIsLeftOfAnEvictedChainIsFoundTooLongBySevenSentencesAtMost) {
  const PrefixChain prompt = NumberedChain({{0, 20}});
  index_.AddPrompt(1, prompt);
  for (int num_left = 19; num_left >= 0; --num_left) {
    if (IsSampledPrefix(num_left)) index_.Remove(1, std::span(prompt.keys).subspan(num_left, 1));
    const int64_t found = Cached(prompt)[0];
    EXPECT_GE(found, 10 * num_left - 70) << num_left;
    EXPECT_LE(found, num_left == 0 ? 0 : 10 * (num_left + 7)) << num_left;
  }
}

TEST_F(PrefixIndexTest, NoMoreIsFoundThanTheRequestCanUse) {
  PrefixChain prompt = NumberedChain({{0, 20}});
  index_.Add(1, prompt.keys);
  const std::pair<int, int64_t> kCases[] = {{1000, 200}, {200, 200}, {199, 190}, {10, 10},
                                            {9, 0},      {0, 0},     {-5, 0}};
  for (const auto& [max_cached_tokens, found] : kCases) {
    prompt.max_cached_tokens = max_cached_tokens;
    EXPECT_THAT(Cached(prompt), ElementsAre(found, 0, 0)) << max_cached_tokens;
  }
}

TEST_F(PrefixIndexTest, WhatAPromptPromisedIsTakenBackBehindWhatWasThereBefore) {
  index_.PromisePrompt(1, NumberedChain({{0, 20}}));
  const PrefixChain longer = NumberedChain({{0, 40}});
  index_.PromisePrompt(1, longer);
  EXPECT_THAT(Cached(longer), ElementsAre(400, 0, 0));
  index_.WithdrawPrompt(1, longer, 200);
  EXPECT_THAT(Cached(longer), ElementsAre(200, 0, 0));
}

TEST_F(PrefixIndexTest, WhatWasToldStaysWhenAPromiseIsWithdrawn) {
  const PrefixChain prompt = NumberedChain({{0, 40}});
  const auto first_half = std::span(prompt.keys).first(17);
  for (const bool told_before : {true, false}) {
    SCOPED_TRACE(told_before);
    index_.Clear(1);
    if (told_before) index_.Add(1, first_half);
    index_.PromisePrompt(1, prompt);
    EXPECT_THAT(Cached(prompt), ElementsAre(400, 0, 0));
    if (!told_before) index_.Add(1, first_half);
    index_.WithdrawPrompt(1, prompt, 0);
    EXPECT_THAT(Cached(prompt), ElementsAre(170, 0, 0));
  }
}

TEST_F(PrefixIndexTest, AnAnswerMakesAPromiseAFactAndAnEvictionEndsBoth) {
  const PrefixChain prompt = NumberedChain({{0, 17}});
  index_.PromisePrompt(1, prompt);
  index_.AddPrompt(1, prompt);
  index_.PromisePrompt(1, prompt);
  index_.WithdrawPrompt(1, prompt, 0);
  EXPECT_THAT(Cached(prompt), ElementsAre(170, 0, 0));
  index_.PromisePrompt(2, prompt);
  for (const CacheId cache : {1, 2}) index_.Remove(cache, prompt.keys);
  EXPECT_THAT(Cached(prompt), ElementsAre(0, 0, 0));
}

TEST_F(PrefixIndexTest, ACacheThatIsGoneIsForgottenAndItsNumberMeansNothing) {
  const PrefixChain prompt = NumberedChain({{0, 20}});
  index_.AddPrompt(1, prompt);
  index_.AddPrompt(2, prompt);
  SetCaches({2, 3});
  EXPECT_THAT(Cached(prompt), ElementsAre(0, 200, 0));
  index_.AddPrompt(1, prompt);
  index_.Add(1, prompt.keys);
  EXPECT_THAT(Cached(prompt), ElementsAre(0, 200, 0));
  index_.AddPrompt(kNoCache, prompt);
  EXPECT_THAT(Cached(prompt, {kNoCache}), ElementsAre(0));
}

TEST_F(PrefixIndexTest, AClearedCacheBeginsAnew) {
  const PrefixChain prompt = NumberedChain({{0, 20}});
  index_.AddPrompt(1, prompt);
  index_.AddPrompt(2, prompt);
  index_.Clear(1);
  EXPECT_THAT(Cached(prompt), ElementsAre(0, 200, 0));
  index_.AddPrompt(1, NumberedChain({{0, 5}}));
  EXPECT_THAT(Cached(prompt), ElementsAre(50, 200, 0));
}

// Ten thousand caches come and go, so that every slot is used again and again, and none of them
// may inherit what the one before it had.
TEST_F(PrefixIndexTest, SlotsAreUsedAgainAndNoCacheInheritsFromAnother) {
  const PrefixChain prompt = NumberedChain({{0, 20}});
  for (CacheId first = 10; first < 10'000; first += 300) {
    std::vector<CacheId> caches(300);
    std::iota(caches.begin(), caches.end(), first);
    // One call leaves the last ones behind, the next ones clear and find slots for all.
    for (int i = 0; i < 3; ++i) index_.SetCaches(caches);
    for (const int64_t cached : index_.CachedTokens(prompt, caches)) ASSERT_EQ(cached, 0);
    for (const CacheId cache : caches) index_.AddPrompt(cache, prompt);
    for (const int64_t cached : index_.CachedTokens(prompt, caches)) ASSERT_EQ(cached, 200);
  }
}

TEST_F(PrefixIndexTest, MoreCachesThanThereAreSlotsWaitForThem) {
  std::vector<CacheId> caches(600);
  std::iota(caches.begin(), caches.end(), 0);
  SetCaches(caches);
  const PrefixChain prompt = NumberedChain({{0, 5}});
  for (const CacheId cache : caches) index_.AddPrompt(cache, prompt);
  std::vector<int64_t> cached = index_.CachedTokens(prompt, caches);
  EXPECT_EQ(std::ranges::count(cached, 50), 512);
  EXPECT_EQ(cached[599], 0);
  const std::vector<CacheId> last = {598, 599};
  for (int i = 0; i < 3; ++i) index_.SetCaches(last);
  index_.AddPrompt(599, prompt);
  EXPECT_THAT(Cached(prompt, last), ElementsAre(0, 50));
}

TEST_F(PrefixIndexTest, FreshKeysForEverKeepWithinTheCap) {
  PrefixIndex index(100);
  const std::vector<CacheId> caches = {1};
  index.SetCaches(caches);
  for (int i = 0; i < 1000; ++i) index.AddPrompt(1, NumberedChain({{100 * i, 8}}));
  EXPECT_EQ(index.stats().num_keys, 100u);
  EXPECT_EQ(index.stats().max_keys, 100u);
  EXPECT_EQ(index.stats().num_evicted_keys, 8000u - 100u);
  EXPECT_THAT(index.CachedTokens(NumberedChain({{100 * 999, 8}}), caches), ElementsAre(80));
}

}  // namespace
}  // namespace skv::router
