#include "tools/cli/kvstore_view.h"

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::cli {
namespace {

using absl::StatusCode;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

constexpr char kKey[] = "000102030405060708090a0b0c0d0e0f/ffeeddccbbaa99887766554433221100";

TEST(KvstoreViewTest, AKeyIsReadAsItIsPrinted) {
  ASSERT_OK_AND_ASSIGN(const kvstore::v1::Key key, ParseKey(kKey));
  EXPECT_EQ(key.prefix().size(), 16u);
  EXPECT_EQ(key.prefix()[1], '\x01');
  EXPECT_EQ(key.layout()[0], '\xff');
  EXPECT_EQ(KeyText(key), kKey);
}

TEST(KvstoreViewTest, AKeyOfAnotherFormIsRefused) {
  const std::string key = kKey;
  for (const std::string& text :
       {std::string(), std::string("/"), key.substr(0, 32), key.substr(0, 64), key + "0",
        "x" + key.substr(1), key + "/" + key.substr(0, 32)}) {
    SCOPED_TRACE(text);
    EXPECT_THAT(ParseKey(text), StatusIs(StatusCode::kInvalidArgument, HasSubstr("PREFIX/LAYOUT")));
  }
}

TEST(KvstoreViewTest, EntriesAreATable) {
  kvstore::v1::Entry entry;
  *entry.mutable_key() = ParseKey(kKey).value();
  entry.set_depth(7);
  entry.set_state(kvstore::v1::Entry::SEALED);
  entry.set_bytes(192);
  entry.set_pinned_seconds(1.5);
  EXPECT_EQ(RenderEntries({entry}),
            "KEY                                                               DEPTH STATE        "
            "BYTES RANKS LEASES CHILDREN   PIN s  TENANT\n" +
                std::string(kKey) + "     7 sealed         192     0      0        0       2  -\n");
  EXPECT_EQ(ToJson(entry)["key"], kKey);
  EXPECT_EQ(ToJson(entry)["state"], "sealed");
  EXPECT_EQ(ToJson(entry)["pinned_seconds"], 1.5);
}

TEST(KvstoreViewTest, StatsShowLimitsBesideWhatTheyLimit) {
  kvstore::v1::Stats stats;
  stats.set_arena_bytes(4 << 20);
  stats.set_live_bytes(1 << 20);
  stats.set_num_entries(3);
  stats.set_max_entries(10);
  stats.add_tenants()->set_bytes(5);
  stats.add_tenants()->set_name("batch");
  const std::string text = RenderStats(stats);
  EXPECT_THAT(text, HasSubstr("arena      1.0 MiB of 4.0 MiB (25 %), 0.0 MiB leased\n"));
  EXPECT_THAT(text, HasSubstr("entries    3 of 10, 0 sealed\n"));
  EXPECT_THAT(text, HasSubstr("\n-       "));
  EXPECT_THAT(text, HasSubstr("\nbatch   "));
  EXPECT_THAT(text, Not(HasSubstr("TIER")));
  kvstore::v1::TierStats* const tier = stats.add_tiers();
  tier->set_name("nvme");
  tier->set_bytes(1 << 20);
  tier->set_capacity_bytes(2 << 20);
  tier->set_max_queued_entries(9);
  EXPECT_THAT(RenderStats(stats), ContainsRegex("\nnvme +no +0 +1.0 MiB of 2.0 MiB .* 0 of 9 "));
  EXPECT_EQ(ToJson(stats)["tiers"][0]["name"], "nvme");
  EXPECT_EQ(ToJson(stats)["tenants"][1]["name"], "batch");
  EXPECT_EQ(ToJson(stats)["max_entries"], 10);
}

TEST(KvstoreViewTest, AVerificationThatSkippedEntriesSaysSoAndFails) {
  kvstore::v1::VerifyResponse verified;
  verified.set_num_entries(40);
  EXPECT_EQ(RenderVerified(verified), "40 entries, 0.0 MiB compared, 0 damaged");
  EXPECT_OK(StatusOf(verified));
  verified.set_num_skipped_entries(2);
  EXPECT_EQ(RenderVerified(verified), "40 entries, 0.0 MiB compared, 0 damaged, 2 skipped");
  EXPECT_EQ(ToJson(verified)["num_skipped_entries"], 2);
  EXPECT_THAT(StatusOf(verified),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("2 entries were not compared")));
  verified.set_num_damaged_entries(1);
  EXPECT_THAT(StatusOf(verified), StatusIs(StatusCode::kDataLoss, HasSubstr("1 damaged")));
}

}  // namespace
}  // namespace skv::cli
