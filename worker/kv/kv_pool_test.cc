#include "worker/kv/kv_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "common/testing/status_matchers.h"

namespace skv::kv {
namespace {

// Units of 3,072 bytes: smaller than a kernel page and across its borders.
constexpr KvLayout kSmallUnits{
    .num_layers = 1, .num_kv_heads = 3, .head_dim = 64, .element_bytes = 2};
// Units of 15,360 bytes: larger than a page, no multiple of it.
constexpr KvLayout kLargeUnits{
    .num_layers = 5, .num_kv_heads = 3, .head_dim = 64, .element_bytes = 2};
// Less than a huge page, so that touching one byte commits one page.
constexpr size_t kPoolBytes = 1 << 20;

// Bytes of the mapping that begins at `base` and are in memory.
size_t ResidentBytes(const std::byte* base, size_t size) {
  const size_t page = sysconf(_SC_PAGESIZE);
  std::vector<unsigned char> resident((size + page - 1) / page);
  EXPECT_EQ(mincore(const_cast<std::byte*>(base), size, resident.data()), 0) << strerror(errno);
  return page * std::count_if(resident.begin(), resident.end(), [](auto r) { return r & 1; });
}

class KvPoolTest : public testing::TestWithParam<KvLayout> {};

TEST_P(KvPoolTest, ResidentMemoryFollowsUseAndWhatLivesIsKept) {
  const KvLayout layout = GetParam();
  const size_t page = sysconf(_SC_PAGESIZE);
  ASSERT_OK_AND_ASSIGN(const auto pool, KvPool::Create(layout, kPoolBytes / layout.TokenBytes()));
  const size_t pool_bytes = pool->capacity_tokens() * layout.TokenBytes();
  const std::byte* const base = (*pool->CreateBlock(4))->data();  // the lowest place

  struct Live {
    std::shared_ptr<Block> block;
    int value;
  };
  std::vector<Live> live;
  std::mt19937 random(5);
  for (int i = 0; i < 3000; ++i) {
    const bool full = pool->largest_free_tokens() < kMaxBlockTokens;
    if (full || (!live.empty() && random() % 2 == 0)) {
      const size_t victim = random() % live.size();
      const Live& freed = live[victim];
      const size_t bytes = freed.block->capacity() * layout.TokenBytes();
      ASSERT_TRUE(std::all_of(freed.block->data(), freed.block->data() + bytes, [&](std::byte b) {
        return b == static_cast<std::byte>(freed.value);
      })) << "a neighbour's end took a page that was in use";
      live.erase(live.begin() + victim);
    } else {
      Live made{*pool->CreateBlock(1 + random() % kMaxBlockTokens), int(1 + random() % 255)};
      std::memset(made.block->data(), made.value, made.block->capacity() * layout.TokenBytes());
      live.push_back(std::move(made));
    }
    // Each used range reaches into at most two pages that it does not fill.
    ASSERT_LE(ResidentBytes(base, pool_bytes), pool->used_bytes() + 2 * page * live.size());
  }
  live.clear();
  EXPECT_EQ(ResidentBytes(base, pool_bytes), 0u);
}

INSTANTIATE_TEST_SUITE_P(Units, KvPoolTest, testing::Values(kSmallUnits, kLargeUnits));

TEST(KvPoolTest, TheLastPageOfThePoolIsGivenBackToo) {
  ASSERT_OK_AND_ASSIGN(const auto pool, KvPool::Create(kSmallUnits, 3 * kUnitTokens));
  auto block = *pool->CreateBlock(3 * kUnitTokens);
  const std::byte* const base = block->data();
  const size_t bytes = 3 * kUnitTokens * kSmallUnits.TokenBytes();
  std::memset(block->data(), 1, bytes);
  EXPECT_GT(ResidentBytes(base, bytes), 0u);
  block = nullptr;
  EXPECT_EQ(ResidentBytes(base, bytes), 0u);
}

}  // namespace
}  // namespace skv::kv
