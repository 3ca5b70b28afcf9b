#include "router/balancer/prefix_aware.h"

#include <map>

#include "gtest/gtest.h"
#include "router/balancer/testing/numbered_chain.h"

namespace skv::router {
namespace {

// Groups 1, 2, ... with caches 101, 102, ... Sentences have 10 tokens.
class PrefixAwareTest : public testing::Test {
 protected:
  PrefixAwareTest() {
    const std::vector<CacheId> caches = {101, 102, 103};
    prefixes_->SetCaches(caches);
  }

  static Candidate MakeCandidate(GroupId id, int64_t outstanding) {
    return {.group_id = id,
            .reported_tokens = outstanding,
            .outstanding = std::make_shared<OutstandingTokens>(0),
            .cache_id = 100 + id};
  }
  std::optional<PickResult> Pick(std::vector<Candidate> candidates, const PrefixChain& prompt,
                                 uint64_t sequence = 0) {
    return MakePrefixAwarePickerFactory(prefixes_)(std::move(candidates))
        ->Pick({.excluded = excluded_,
                .sequence = sequence,
                .num_prompt_tokens = prompt.ends.back() + 5,
                .prompt = &prompt});
  }

  std::vector<GroupId> excluded_;
  std::shared_ptr<PrefixIndex> prefixes_ = std::make_shared<PrefixIndex>(1000);
};

TEST_F(PrefixAwareTest, TheGroupThatHasMostOfThePromptIsPickedAndSaysHowMuch) {
  prefixes_->AddPrompt(102, NumberedChain({{1, 3}}));
  prefixes_->AddPrompt(103, NumberedChain({{1, 6}}));
  const PrefixChain prompt = NumberedChain({{1, 7}});
  const std::vector<Candidate> candidates = {MakeCandidate(1, 0), MakeCandidate(2, 0),
                                             MakeCandidate(3, 0)};
  for (uint64_t sequence = 0; sequence < 3; ++sequence) {
    const std::optional<PickResult> result = Pick(candidates, prompt, sequence);
    EXPECT_EQ(result->group_id, 3);
    EXPECT_EQ(result->cached_tokens, 60);
  }
  excluded_ = {3};
  EXPECT_EQ(Pick(candidates, prompt)->group_id, 2);
  EXPECT_EQ(Pick(candidates, prompt)->cached_tokens, 30);
}

TEST_F(PrefixAwareTest, ACacheIsWorthTwiceAsManyTokensOfQueueAsItSaves) {
  prefixes_->AddPrompt(101, NumberedChain({{1, 8}}));
  const PrefixChain prompt = NumberedChain({{1, 100}});  // 80 of 1005 tokens are cached
  EXPECT_EQ(Pick({MakeCandidate(1, 159), MakeCandidate(2, 0)}, prompt)->group_id, 1);
  EXPECT_EQ(Pick({MakeCandidate(1, 161), MakeCandidate(2, 0)}, prompt)->group_id, 2);
  EXPECT_EQ(Pick({MakeCandidate(1, 161), MakeCandidate(2, 0)}, prompt)->cached_tokens, 0);
}

TEST_F(PrefixAwareTest, AmongEqualCostsTheLessLoadedGroupIsPicked) {
  prefixes_->AddPrompt(101, NumberedChain({{1, 8}}));
  const PrefixChain prompt = NumberedChain({{1, 100}});
  for (uint64_t sequence = 0; sequence < 2; ++sequence) {
    EXPECT_EQ(Pick({MakeCandidate(1, 160), MakeCandidate(2, 0)}, prompt, sequence)->group_id, 2);
  }
}

TEST_F(PrefixAwareTest, AGroupFarAboveTheMeanIsNotPickedForItsCache) {
  prefixes_->AddPrompt(101, NumberedChain({{1, 100}}));
  const PrefixChain prompt = NumberedChain({{1, 100}});  // 1005 tokens
  // Its cache saves more than it has outstanding before group 2. The limits are 13,225 and 12,965:
  // 1.3 times the mean, and the prompt.
  excluded_ = {3};
  const std::vector<Candidate> below = {MakeCandidate(1, 13000), MakeCandidate(2, 12500),
                                        MakeCandidate(3, 2700)};
  EXPECT_EQ(Pick(below, prompt)->group_id, 1);
  const std::vector<Candidate> above = {MakeCandidate(1, 13000), MakeCandidate(2, 12500),
                                        MakeCandidate(3, 2100)};
  EXPECT_EQ(Pick(above, prompt)->group_id, 2);
}

// 1005 tokens for group 1, of which a quarter counts against it, a little less with each request.
TEST_F(PrefixAwareTest, WhatAGroupWasGivenOfLateCountsAgainstIt) {
  const auto picker =
      MakePrefixAwarePickerFactory(prefixes_)({MakeCandidate(1, 0), MakeCandidate(2, 10)});
  const auto pick = [&](const PrefixChain& prompt) {
    return picker
        ->Pick(
            {.excluded = excluded_, .num_prompt_tokens = prompt.ends.back() + 5, .prompt = &prompt})
        ->group_id;
  };
  EXPECT_EQ(pick(NumberedChain({{1, 100}})), 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pick(NumberedChain({{1000 + i, 1}})), 2);
  const PrefixChain prompt = NumberedChain({{1, 20}});
  prefixes_->AddPrompt(101, NumberedChain({{1, 8}}));
  EXPECT_EQ(pick(prompt), 2);
  prefixes_->AddPrompt(101, NumberedChain({{1, 16}}));
  EXPECT_EQ(pick(prompt), 1);
}

TEST_F(PrefixAwareTest, GroupsOfOneStoreShareWhatOneOfThemComputed) {
  prefixes_->AddPrompt(101, NumberedChain({{1, 8}}));
  const PrefixChain prompt = NumberedChain({{1, 8}});
  Candidate neighbour = MakeCandidate(2, 10);
  neighbour.cache_id = 101;
  const auto result = Pick({MakeCandidate(1, 20), neighbour, MakeCandidate(3, 0)}, prompt);
  EXPECT_EQ(result->group_id, 2);
  EXPECT_EQ(result->cached_tokens, 80);
}

TEST_F(PrefixAwareTest, AGroupWithoutAKnownCacheIsPickedByItsLoad) {
  const PrefixChain prompt = NumberedChain({{1, 8}});
  Candidate unknown = MakeCandidate(1, 0);
  unknown.cache_id = kNoCache;
  EXPECT_EQ(Pick({unknown, MakeCandidate(2, 10)}, prompt)->group_id, 1);
  prefixes_->AddPrompt(102, prompt);
  EXPECT_EQ(Pick({unknown, MakeCandidate(2, 10)}, prompt)->group_id, 2);
}

}  // namespace
}  // namespace skv::router
