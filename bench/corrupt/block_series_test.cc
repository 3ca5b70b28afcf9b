#include "bench/corrupt/block_series.h"

#include <gtest/gtest.h>

#include <set>
#include <span>

#include "kvstore/block/block_header.h"

namespace skv::corrupt {
namespace {

constexpr int kNumBlocks = 200;

std::span<const std::byte> BytesOf(const NumberedBlock& block) {
  return std::as_bytes(std::span(block.bytes));
}

TEST(BlockSeriesTest, BlocksAreWholeAndFollowFromSeedAndNumber) {
  std::set<PrefixKey> keys;
  for (int number = 0; number < kNumBlocks; ++number) {
    const NumberedBlock block = BlockSeries(1).Make(number);
    const auto parsed = kvstore::ParseBlock(BytesOf(block), "block");
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->header.id.prefix, block.sentence.key);
    EXPECT_EQ(parsed->payload.size(), block.bytes.size() - block.header_bytes);
    EXPECT_EQ(BlockSeries(1).Make(number).bytes, block.bytes);
    EXPECT_NE(BlockSeries(2).Make(number).bytes, block.bytes);
    keys.insert(block.sentence.key);
  }
  EXPECT_EQ(keys.size(), size_t{kNumBlocks});
}

TEST(BlockSeriesTest, BitsFallInHeadersPayloadsAndBothHalvesOfBlocks) {
  const BlockSeries series(1);
  int num_in_header = 0, num_in_first_half = 0;
  for (int number = 0; number < kNumBlocks; ++number) {
    const NumberedBlock block = series.Make(number);
    const uint64_t bit = series.BitOf(block, number);
    ASSERT_LT(bit, 8 * block.bytes.size());
    num_in_header += bit / 8 < block.header_bytes;
    num_in_first_half += bit < 4 * block.bytes.size();
  }
  EXPECT_GE(num_in_header, 2);
  EXPECT_LE(num_in_header, kNumBlocks / 4);
  // Four standard deviations about the middle.
  EXPECT_GE(num_in_first_half, 72);
  EXPECT_LE(num_in_first_half, 128);
}

}  // namespace
}  // namespace skv::corrupt
