#include "worker/kv/sequence_cache.h"

#include <cstring>
#include <random>

#include "common/testing/status_matchers.h"

namespace skv::kv {
namespace {

constexpr KvLayout kLayout{.num_layers = 2, .num_kv_heads = 2, .head_dim = 32, .element_bytes = 2};

std::unique_ptr<KvPool> MakePool(int64_t tokens) {
  auto pool = KvPool::Create(kLayout, tokens);
  EXPECT_OK(pool);
  return std::move(pool).value();
}

int64_t UsedTokens(const KvPool& pool) { return pool.used_bytes() / kLayout.TokenBytes(); }

// Writes the position into every byte of its rows.
void Fill(const SequenceCache& cache, int begin, int end) {
  for (int position = begin; position < end; ++position) {
    for (int layer = 0; layer < kLayout.num_layers; ++layer) {
      for (int head = 0; head < kLayout.num_kv_heads; ++head) {
        const RowPointers row = cache.Row(layer, head, position);
        std::memset(row.k, position + layer, kLayout.RowBytes());
        std::memset(row.v, position + layer + head + 1, kLayout.RowBytes());
      }
    }
  }
}

// The lengths of the runs of [begin, end), which must hold what Fill wrote.
std::vector<int> CheckedRuns(const SequenceCache& cache, int begin, int end) {
  std::vector<KvRun> runs = {{nullptr, nullptr, 0}};
  cache.AppendRuns(1, 1, begin, end, &runs);
  std::vector<int> lengths;
  int position = begin;
  for (size_t i = 1; i < runs.size(); ++i) {
    for (int row = 0; row < runs[i].num_rows; ++row, ++position) {
      EXPECT_EQ(static_cast<uint8_t>(runs[i].k[row * kLayout.RowBytes()]), uint8_t(position + 1));
      EXPECT_EQ(static_cast<uint8_t>(runs[i].v[row * kLayout.RowBytes()]), uint8_t(position + 3));
    }
    lengths.push_back(runs[i].num_rows);
  }
  EXPECT_EQ(position, end);
  return lengths;
}

std::unique_ptr<SequenceCache> FilledCache(KvPool* pool, int num_prompt_tokens,
                                           absl::Span<const int> sentence_ends, int num_tokens,
                                           int chunk) {
  auto cache = std::make_unique<SequenceCache>(pool, num_prompt_tokens, sentence_ends);
  while (cache->num_reserved() < num_tokens) {
    const int begin = cache->num_reserved();
    EXPECT_OK(cache->Reserve(std::min(chunk, num_tokens - begin)));
    Fill(*cache, begin, cache->num_reserved());
    cache->Commit();
  }
  return cache;
}

TEST(SequenceCacheTest, ABlockIsASentenceWhateverTheChunks) {
  using Lengths = std::vector<int>;
  const struct {
    const char* why;
    int num_prompt_tokens;
    std::vector<int> sentence_ends;
    Lengths blocks;
  } kCases[] = {
      {"no sentence ends", 150, {}, {128, 22}},
      {"one sentence", 20, {20}, {20}},
      {"the last has no end", 60, {7, 30, 34}, {7, 23, 4, 26}},
      {"the last ends the prompt", 60, {7, 30, 60}, {7, 23, 30}},
      {"a long one is cut", 330, {10, 310}, {10, 128, 128, 44, 20}},
      {"shorter than a unit", 10, {1, 2, 3, 5, 6}, {1, 1, 1, 2, 1, 4}},
  };
  for (const auto& c : kCases) {
    for (const int chunk : {1, 7, 128, 500}) {
      SCOPED_TRACE(testing::Message() << c.why << ", chunks of " << chunk);
      const auto pool = MakePool(1024);
      const int num_tokens = c.num_prompt_tokens + 35;
      const auto cache =
          FilledCache(pool.get(), c.num_prompt_tokens, c.sentence_ends, num_tokens, chunk);
      EXPECT_EQ(CheckedRuns(*cache, 0, c.num_prompt_tokens), c.blocks);
      EXPECT_EQ(CheckedRuns(*cache, c.num_prompt_tokens, num_tokens), (Lengths{16, 16, 3}));
      EXPECT_EQ(pool->num_blocks(), static_cast<int64_t>(c.blocks.size()));
      int64_t tokens = 3 * kSlotsPerPage;
      for (const int length : c.blocks) tokens += (length + 3) / 4 * 4;
      EXPECT_EQ(UsedTokens(*pool), tokens);
    }
  }
}

TEST(SequenceCacheTest, ABlockIsMadeWhenItsFirstTokenIsReserved) {
  const auto pool = MakePool(1024);
  SequenceCache cache(pool.get(), 60, {20, 40});
  ASSERT_OK(cache.Reserve(20));
  EXPECT_EQ(pool->num_blocks(), 1);
  ASSERT_OK(cache.Reserve(1));
  EXPECT_EQ(UsedTokens(*pool), 40);
  ASSERT_OK(cache.Reserve(19));
  EXPECT_EQ(pool->num_blocks(), 2);
}

TEST(SequenceCacheTest, AnyRangeListsItsPositionsInOrder) {
  std::mt19937 random(3);
  const auto pool = MakePool(2048);
  std::vector<int> ends;
  for (int end = 0; end < 400;) ends.push_back(end += 1 + random() % 40);
  const int num_prompt_tokens = ends.back() + 3;
  const auto cache = FilledCache(pool.get(), num_prompt_tokens, ends, num_prompt_tokens + 50, 64);
  for (int i = 0; i < 2000; ++i) {
    const int begin = random() % cache->num_reserved();
    const int end = begin + random() % (cache->num_reserved() - begin + 1);
    CheckedRuns(*cache, begin, end);
  }
}

TEST(SequenceCacheTest, ForkSharesThePromptAndKeepsGeneratedTokensApart) {
  const auto pool = MakePool(1024);
  const auto parent = FilledCache(pool.get(), 150, {20, 50, 90}, 157, 64);
  const auto child = parent->ForkPrompt();
  EXPECT_EQ(pool->num_blocks(), 4);
  EXPECT_EQ(child->num_computed(), 150);
  EXPECT_EQ(CheckedRuns(*child, 0, 150), (std::vector<int>{20, 30, 40, 60}));
  ASSERT_OK(child->Reserve(1));
  EXPECT_EQ(parent->Row(0, 0, 149).k, child->Row(0, 0, 149).k);
  EXPECT_NE(parent->Row(0, 0, 150).k, child->Row(0, 0, 150).k);
}

// Memory outside of the pool; `seals` gets its number when it is sealed.
class GivenBlock : public PromptBlock {
 public:
  GivenBlock(int number, int num_tokens, std::vector<int>* seals)
      : GivenBlock(std::vector<std::byte>(num_tokens * kLayout.TokenBytes()), number, num_tokens,
                   seals) {}
  void Seal() override { seals_->push_back(number_); }

 private:
  GivenBlock(std::vector<std::byte> bytes, int number, int num_tokens, std::vector<int>* seals)
      : PromptBlock(bytes.data(), num_tokens),
        bytes_(std::move(bytes)),
        number_(number),
        seals_(seals) {}

  const std::vector<std::byte> bytes_;
  const int number_;
  std::vector<int>* const seals_;
};

using PromptBlocks = std::vector<std::shared_ptr<PromptBlock>>;

// One for each of `lengths`, numbered from 0; null where it is negative.
PromptBlocks GivenBlocks(const std::vector<int>& lengths, std::vector<int>* seals) {
  PromptBlocks blocks;
  for (const int length : lengths) {
    const int number = static_cast<int>(blocks.size());
    blocks.push_back(length < 0 ? nullptr : std::make_shared<GivenBlock>(number, length, seals));
  }
  return blocks;
}

bool IsIn(const PromptBlock& block, const std::byte* row) {
  return block.data() <= row && row < block.data() + block.capacity() * kLayout.TokenBytes();
}

TEST(SequenceCacheTest, APromptLiesInTheBlocksThatItIsGivenAndTheRestInThePool) {
  for (const int chunk : {1, 7, 500}) {
    SCOPED_TRACE(testing::Message() << "chunks of " << chunk);
    std::vector<int> seals;
    const auto pool = MakePool(1024);
    // The second sentence is cut, as the pool's are; the fourth has no block, nor has the tail.
    SequenceCache cache(pool.get(), 230, {20, 170, 200, 210, 220});
    const PromptBlocks given = GivenBlocks({20, -1, 30, -1, 10}, &seals);
    cache.UsePrompt(given, 0);
    EXPECT_EQ(cache.num_reserved(), 0);
    while (cache.num_reserved() < 250) {
      const int begin = cache.num_reserved();
      ASSERT_OK(cache.Reserve(std::min(chunk, 250 - begin)));
      Fill(cache, begin, cache.num_reserved());
      cache.Commit();
    }
    EXPECT_EQ(CheckedRuns(cache, 0, 230), (std::vector<int>{20, 128, 22, 30, 10, 10, 10}));
    CheckedRuns(cache, 230, 250);
    EXPECT_TRUE(IsIn(*given[0], cache.Row(1, 1, 19).v));
    EXPECT_TRUE(IsIn(*given[2], cache.Row(0, 0, 170).k));
    EXPECT_TRUE(IsIn(*given[4], cache.Row(1, 1, 219).v));
    EXPECT_EQ(pool->num_blocks(), 4);
    EXPECT_EQ(seals, (std::vector<int>{0, 2, 4}));
  }
}

TEST(SequenceCacheTest, ABlockIsSealedOnceItIsCompleteAndNotBefore) {
  std::vector<int> seals;
  const auto pool = MakePool(1024);
  SequenceCache cache(pool.get(), 60, {20, 40});
  cache.UsePrompt(GivenBlocks({20, 20}, &seals), 0);
  ASSERT_OK(cache.Reserve(20));
  EXPECT_TRUE(seals.empty());
  cache.Commit();
  EXPECT_EQ(seals, (std::vector<int>{0}));
  ASSERT_OK(cache.Reserve(19));
  cache.Commit();
  EXPECT_EQ(seals, (std::vector<int>{0}));
  ASSERT_OK(cache.Reserve(1));
  cache.Commit();
  EXPECT_EQ(seals, (std::vector<int>{0, 1}));
}

TEST(SequenceCacheTest, WhatCameWrittenIsThereAndIsNeverSealedAgain) {
  std::vector<int> first_seals, seals;
  const auto pool = MakePool(1024);
  const std::vector<int> ends = {20, 31, 40};
  const PromptBlocks written = GivenBlocks({20, 11, 9}, &first_seals);
  SequenceCache first(pool.get(), 45, ends);
  first.UsePrompt(written, 0);
  ASSERT_OK(first.Reserve(45));
  Fill(first, 0, 45);
  first.Commit();

  PromptBlocks blocks = GivenBlocks({-1, -1, 9}, &seals);
  blocks[0] = written[0];
  blocks[1] = written[1];
  SequenceCache second(pool.get(), 45, ends);
  second.UsePrompt(blocks, 31);
  EXPECT_EQ(second.num_computed(), 31);
  EXPECT_EQ(second.num_reserved(), 31);
  EXPECT_EQ(CheckedRuns(second, 0, 31), (std::vector<int>{20, 11}));
  EXPECT_EQ(second.Row(1, 0, 30).k, first.Row(1, 0, 30).k);
  second.Commit();
  EXPECT_TRUE(seals.empty());
  ASSERT_OK(second.Reserve(14));
  Fill(second, 31, 45);
  second.Commit();
  EXPECT_EQ(CheckedRuns(second, 0, 45), (std::vector<int>{20, 11, 9, 5}));
  EXPECT_NE(second.Row(1, 0, 31).k, first.Row(1, 0, 31).k);
  EXPECT_EQ(first_seals, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(seals, (std::vector<int>{2}));
}

TEST(SequenceCacheTest, AForkHoldsWhatItsParentWasGivenAndSealsNothing) {
  std::vector<int> seals;
  const auto pool = MakePool(1024);
  PromptBlocks given = GivenBlocks({20, 30}, &seals);
  const std::weak_ptr<PromptBlock> second = given[1];
  auto parent = std::make_unique<SequenceCache>(pool.get(), 50, std::vector<int>{20, 50});
  parent->UsePrompt(std::move(given), 20);
  ASSERT_OK(parent->Reserve(31));
  Fill(*parent, 0, 51);
  parent->Commit();
  auto child = parent->ForkPrompt();
  parent.reset();
  ASSERT_OK(child->Reserve(5));
  child->Commit();
  EXPECT_EQ(CheckedRuns(*child, 0, 50), (std::vector<int>{20, 30}));
  EXPECT_EQ(seals, (std::vector<int>{1}));
  EXPECT_FALSE(second.expired());
  child.reset();
  EXPECT_TRUE(second.expired());
}

TEST(SequenceCacheTest, EverythingIsGivenBack) {
  const auto pool = MakePool(512);
  {
    SequenceCache cache(pool.get(), 200, {50, 70});
    ASSERT_OK(cache.Reserve(250));
    cache.Commit();
    const auto child = cache.ForkPrompt();
    EXPECT_GT(pool->used_bytes(), 0u);
  }
  EXPECT_EQ(pool->used_bytes(), 0u);
  EXPECT_EQ(pool->num_blocks(), 0);
  EXPECT_EQ(pool->num_slot_pages(), 0);
}

// Only ranges of one and two units are free, 3 of each: sentences and slot pages are split, and
// take the same units as in an empty pool.
TEST(SequenceCacheTest, AFragmentedPoolServesEveryTokenThatItHas) {
  const auto pool = MakePool(6 * 16);
  std::vector<std::shared_ptr<Block>> used, gaps;
  for (int i = 0; i < 6; ++i) {
    gaps.push_back(*pool->CreateBlock(i % 2 == 0 ? 4 : 8));
    used.push_back(*pool->CreateBlock(i % 2 == 0 ? 12 : 8));
  }
  gaps.clear();
  const auto cache = FilledCache(pool.get(), 18, {18}, 18 + 16, 5);
  EXPECT_EQ(CheckedRuns(*cache, 0, 18), (std::vector<int>{8, 8, 2}));
  EXPECT_EQ(CheckedRuns(*cache, 18, 34), (std::vector<int>{8, 4, 4}));
  EXPECT_EQ(pool->largest_free_tokens(), 0);
  EXPECT_EQ(UsedTokens(*pool), pool->capacity_tokens());
}

TEST(SequenceCacheTest, ASplitPageTakesNoMoreThanAWholeOne) {
  const auto pool = MakePool(64);
  auto gap = *pool->CreateBlock(8);
  auto rest = *pool->CreateBlock(56);
  gap = nullptr;
  SequenceCache cache(pool.get(), 4);
  ASSERT_OK(cache.Reserve(4 + 1));
  EXPECT_EQ(UsedTokens(*pool), pool->capacity_tokens()) << "4 slots of the page found room";
  rest = nullptr;
  ASSERT_OK(cache.Reserve(kSlotsPerPage - 1));
  EXPECT_EQ(UsedTokens(*pool), 4 + kSlotsPerPage);
}

TEST(SequenceCacheTest, AFullPoolIsAnErrorAndTheCacheKeepsWhatItHad) {
  const auto pool = MakePool(256);
  SequenceCache cache(pool.get(), 128);
  ASSERT_OK(cache.Reserve(128));
  cache.Commit();
  EXPECT_THAT(cache.Reserve(1000), StatusIs(absl::StatusCode::kResourceExhausted,
                                            testing::HasSubstr("no room for 16 tokens")));
  EXPECT_EQ(cache.num_reserved(), 128);
  EXPECT_EQ(cache.num_computed(), 128);
}

}  // namespace
}  // namespace skv::kv
