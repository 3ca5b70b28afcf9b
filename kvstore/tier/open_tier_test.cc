#include "kvstore/tier/open_tier.h"

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

// With the library the options are looked at; without it nothing is.
TEST(OpenTierTest, SaysWhatItWasBuiltWithout) {
#if SKV_WITH_ROCKSDB
  EXPECT_THAT(OpenNvmeTier({}), StatusIs(StatusCode::kInvalidArgument, HasSubstr("capacity")));
#else
  EXPECT_THAT(OpenNvmeTier({}), StatusIs(StatusCode::kUnimplemented, HasSubstr("RocksDB")));
#endif
#if SKV_WITH_REDIS
  EXPECT_THAT(OpenRedisTier({}), StatusIs(StatusCode::kInvalidArgument, HasSubstr("address")));
#else
  EXPECT_THAT(OpenRedisTier({}), StatusIs(StatusCode::kUnimplemented, HasSubstr("hiredis")));
#endif
}

}  // namespace
}  // namespace skv::kvstore
