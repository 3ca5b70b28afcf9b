// What tier.h promises, of every implementation.

#include <functional>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/tier/guarded_tier.h"
#include "kvstore/tier/open_tier.h"
#include "kvstore/tier/testing/redis_process.h"
#include "kvstore/tier/testing/test_blocks.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

struct Implementation {
  const char* test_name;
  const char* name;
  std::function<std::unique_ptr<Tier>(const std::string& folder)> open;
  bool needs_server = false;
};

std::unique_ptr<Tier> OpenNvme(const std::string& folder) {
  return OpenNvmeTier({.folder = folder + "/nvme", .capacity_bytes = 256 << 20}).value();
}
std::unique_ptr<Tier> OpenRedis(const std::string& folder) {
  return OpenRedisTier({.address = "unix://" + folder + "/redis.socket"}).value();
}

const Implementation kImplementations[] = {{"Nvme", "nvme", OpenNvme},
                                           {"Redis", "redis", OpenRedis, true},
                                           {"Guarded", "nvme", [](const std::string& folder) {
                                              return std::make_unique<GuardedTier>(OpenNvme(folder),
                                                                                   RealClock());
                                            }}};

class TierContractTest : public testing::TestWithParam<Implementation> {
 protected:
  TierContractTest() {
    if (GetParam().needs_server) server_ = std::make_unique<RedisProcess>(folder_.path());
    tier_ = GetParam().open(folder_.path());
  }

  TestFolder folder_;
  std::unique_ptr<RedisProcess> server_;
  std::unique_ptr<Tier> tier_;
};

TEST_P(TierContractTest, IsNamedAndOn) {
  EXPECT_EQ(tier_->name(), GetParam().name);
  EXPECT_TRUE(tier_->gauges().is_on);
}

TEST_P(TierContractTest, WhatIsPutIsGotBitEqual) {
  for (const size_t size : {1, 63, 4096, 100'000, 5'000'000}) {
    ASSERT_OK(PutOne(*tier_, size, size));
    EXPECT_TRUE(IsTestBlock(GetOne(*tier_, size), size, size)) << size;
  }
  const TierGauges gauges = tier_->gauges();
  EXPECT_EQ(gauges.num_written_blocks, 5u);
  EXPECT_EQ(gauges.num_written_bytes, 5'104'160u);
  EXPECT_EQ(gauges.num_hits, 5u);
  EXPECT_EQ(gauges.num_read_bytes, 5'104'160u);
}

TEST_P(TierContractTest, ResultsStandInTheOrderOfTheirKeys) {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TierBlock> blocks;
  for (size_t i = 0; i < Tier::kMaxBatch; ++i) {
    bytes.push_back(TestBytes(i, 30'000 + i));
    blocks.push_back({TestKey(i), bytes.back()});
  }
  ASSERT_OK(tier_->Put(blocks, Soon()));
  std::vector<TierKey> keys;
  for (size_t i = 0; i < Tier::kMaxBatch; ++i) keys.push_back(TestKey(i % 2 == 0 ? i : 1000 + i));
  ASSERT_OK_AND_ASSIGN(const auto values, tier_->Get(keys, Soon()));
  ASSERT_EQ(values.size(), keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i % 2 == 0) {
      EXPECT_TRUE(IsTestBlock(values[i], i, 30'000 + i)) << i;
    } else {
      EXPECT_THAT(values[i], StatusIs(StatusCode::kNotFound, HasSubstr("")));
    }
  }
  EXPECT_EQ(tier_->gauges().num_misses, Tier::kMaxBatch / 2);
}

TEST_P(TierContractTest, KeysDifferInEachOfTheirParts) {
  TierKey keys[4] = {TestKey(7), TestKey(7), TestKey(7), TestKey(7)};
  keys[1].entry.prefix.bytes[15] ^= 1;
  keys[2].entry.layout.bytes[0] ^= 1;
  keys[3].rank ^= 1u << 31;
  for (uint64_t i = 0; i < 4; ++i) {
    const auto bytes = TestBytes(i, 5000);
    const TierBlock block = {keys[i], bytes};
    ASSERT_OK(tier_->Put({&block, 1}, Soon()));
  }
  ASSERT_OK_AND_ASSIGN(const auto values, tier_->Get(keys, Soon()));
  for (uint64_t i = 0; i < 4; ++i) EXPECT_TRUE(IsTestBlock(values[i], i, 5000)) << i;
}

TEST_P(TierContractTest, OneKeyManyTimes) {
  const auto bytes = TestBytes(1, 5000);
  const TierBlock block = {TestKey(1), bytes};
  const TierBlock twice[] = {block, block};
  ASSERT_OK(tier_->Put(twice, Soon()));
  ASSERT_OK(tier_->Put(twice, Soon()));
  const TierKey keys[] = {TestKey(1), TestKey(1)};
  ASSERT_OK_AND_ASSIGN(const auto values, tier_->Get(keys, Soon()));
  EXPECT_TRUE(IsTestBlock(values[0], 1, 5000));
  EXPECT_TRUE(IsTestBlock(values[1], 1, 5000));
  ASSERT_OK(tier_->Erase(keys, Soon()));
  EXPECT_THAT(GetOne(*tier_, 1), StatusIs(StatusCode::kNotFound, HasSubstr("")));
}

TEST_P(TierContractTest, WhatIsErasedIsGoneAndCanComeBack) {
  for (uint64_t i = 0; i < 3; ++i) ASSERT_OK(PutOne(*tier_, i, 5000));
  const TierKey keys[] = {TestKey(0), TestKey(2), TestKey(99)};
  ASSERT_OK(tier_->Erase(keys, Soon()));
  EXPECT_THAT(GetOne(*tier_, 0), StatusIs(StatusCode::kNotFound, HasSubstr("")));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier_, 1), 1, 5000));
  EXPECT_THAT(GetOne(*tier_, 2), StatusIs(StatusCode::kNotFound, HasSubstr("")));
  ASSERT_OK(PutOne(*tier_, 2, 5000));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier_, 2), 2, 5000));
}

TEST_P(TierContractTest, NothingIsAskedOfNothing) {
  ASSERT_OK_AND_ASSIGN(const auto values, tier_->Get({}, Soon()));
  EXPECT_TRUE(values.empty());
  EXPECT_OK(tier_->Put({}, Soon()));
  EXPECT_OK(tier_->Erase({}, Soon()));
}

TEST_P(TierContractTest, LongerBatchesAreRefused) {
  const std::vector<TierKey> keys(Tier::kMaxBatch + 1);
  const std::vector<TierBlock> blocks(Tier::kMaxBatch + 1);
  const auto refused = StatusIs(StatusCode::kInvalidArgument, HasSubstr("65 blocks"));
  EXPECT_THAT(tier_->Get(keys, Soon()), refused);
  EXPECT_THAT(tier_->Put(blocks, Soon()), refused);
  EXPECT_THAT(tier_->Erase(keys, Soon()), refused);
  EXPECT_EQ(tier_->gauges().num_failures, 3u);
  EXPECT_TRUE(tier_->gauges().is_on);
}

TEST_P(TierContractTest, ValuesOutliveTheirBlocksAndTheTier) {
  ASSERT_OK(PutOne(*tier_, 1, 200'000));
  const auto value = GetOne(*tier_, 1);
  const TierKey key = TestKey(1);
  ASSERT_OK(tier_->Erase({&key, 1}, Soon()));
  ASSERT_OK(PutOne(*tier_, 2, 200'000));
  EXPECT_TRUE(IsTestBlock(value, 1, 200'000));
  const auto other = GetOne(*tier_, 2);
  tier_.reset();
  EXPECT_TRUE(IsTestBlock(value, 1, 200'000));
  EXPECT_TRUE(IsTestBlock(other, 2, 200'000));
}

INSTANTIATE_TEST_SUITE_P(Implementations, TierContractTest, testing::ValuesIn(kImplementations),
                         [](const auto& info) { return std::string(info.param.test_name); });

}  // namespace
}  // namespace skv::kvstore
