#include "worker/kv/sequence_cache.h"

#include <cstring>

#include "common/testing/status_matchers.h"

namespace skv::kv {
namespace {

constexpr KvLayout kLayout{.num_layers = 2, .num_kv_heads = 2, .head_dim = 32, .element_bytes = 2};

std::unique_ptr<KvPool> MakePool(int64_t tokens) {
  auto pool = KvPool::Create(kLayout, tokens);
  EXPECT_OK(pool);
  return std::move(pool).value();
}

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

TEST(SequenceCacheTest, RunsListEveryPositionInOrderWhateverTheChunks) {
  const auto pool = MakePool(1024);
  for (const int chunk : {1, 7, 128, 200}) {
    SCOPED_TRACE(chunk);
    SequenceCache cache(pool.get(), 150);
    while (cache.num_reserved() < 200) {
      ASSERT_OK(cache.Reserve(std::min(chunk, 200 - cache.num_reserved())));
      cache.Commit();
    }
    Fill(cache, 0, 200);
    std::vector<RowRun> runs;
    cache.AppendRuns(1, 1, 0, 200, &runs);
    int position = 0;
    for (const RowRun& run : runs) {
      for (int row = 0; row < run.num_rows; ++row, ++position) {
        EXPECT_EQ(static_cast<uint8_t>(run.k[row * kLayout.RowBytes()]), uint8_t(position + 1));
        EXPECT_EQ(static_cast<uint8_t>(run.v[row * kLayout.RowBytes()]), uint8_t(position + 3));
      }
    }
    EXPECT_EQ(position, 200);
    EXPECT_EQ(runs.size(), 2u + 4u);  // 128 + 22 prompt tokens, then pages of 16
  }
}

TEST(SequenceCacheTest, RunsMayBeginAndEndInsideContainers) {
  const auto pool = MakePool(1024);
  SequenceCache cache(pool.get(), 300);
  ASSERT_OK(cache.Reserve(300));
  std::vector<RowRun> runs;
  cache.AppendRuns(0, 0, 100, 140, &runs);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].num_rows, 28);
  EXPECT_EQ(runs[1].num_rows, 12);
  EXPECT_EQ(runs[0].k, cache.Row(0, 0, 100).k);
}

TEST(SequenceCacheTest, ForkSharesThePromptAndKeepsGeneratedTokensApart) {
  const auto pool = MakePool(1024);
  SequenceCache parent(pool.get(), 150);
  ASSERT_OK(parent.Reserve(150));
  parent.Commit();
  const auto child = parent.ForkPrompt();
  EXPECT_EQ(pool->num_blocks(), 2);
  ASSERT_OK(parent.Reserve(1));
  ASSERT_OK(child->Reserve(1));
  EXPECT_EQ(parent.Row(0, 0, 149).k, child->Row(0, 0, 149).k);
  EXPECT_NE(parent.Row(0, 0, 150).k, child->Row(0, 0, 150).k);
}

TEST(SequenceCacheTest, EverythingIsGivenBack) {
  const auto pool = MakePool(512);
  {
    SequenceCache cache(pool.get(), 200);
    ASSERT_OK(cache.Reserve(250));
    cache.Commit();
    const auto child = cache.ForkPrompt();
    EXPECT_GT(pool->used_bytes(), 0u);
  }
  EXPECT_EQ(pool->used_bytes(), 0u);
  EXPECT_EQ(pool->num_blocks(), 0);
  EXPECT_EQ(pool->num_slot_pages(), 0);
}

TEST(SequenceCacheTest, AFragmentedPoolServesEveryTokenThatItHas) {
  const auto pool = MakePool(16 * kSlotsPerPage);
  std::vector<std::unique_ptr<SlotPage>> pages;
  for (int i = 0; i < 16; ++i) pages.push_back(*pool->CreateSlotPage());
  for (int i = 0; i < 16; i += 2) pages[i] = nullptr;
  SequenceCache cache(pool.get(), 8 * kSlotsPerPage);
  ASSERT_OK(cache.Reserve(8 * kSlotsPerPage));
  std::vector<RowRun> runs;
  cache.AppendRuns(0, 0, 0, 8 * kSlotsPerPage, &runs);
  EXPECT_EQ(runs.size(), 8u);
  EXPECT_EQ(runs[7].k, cache.Row(0, 0, 7 * kSlotsPerPage).k);
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
