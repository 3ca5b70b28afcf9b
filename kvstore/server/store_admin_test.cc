#include "kvstore/server/store_admin.h"

#include <cstddef>
#include <memory>
#include <set>
#include <vector>

#include "common/testing/fake_clock.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/server/testing/sentences.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr int64_t kSmall = 192;  // bytes of MakeSentence(n)

class StoreAdminTest : public testing::Test {
 protected:
  static BlockStoreOptions Options() {
    BlockStoreOptions options;
    options.index.capacity_bytes = 1000 * kSmall;
    options.index.max_entries = options.index.max_shards = 5000;
    options.index.watch_stride = 1;
    return options;
  }
  // Sealed, and held by nobody.
  void Store(const Sentence& sentence, TenantIdx tenant = 0) {
    const CreateItem& item = sentence.item;
    const NewBlock block{.key = KeyOf(sentence),
                         .parent = sentence.parent,
                         .is_first = !item.has_parent,
                         .tenant = tenant,
                         .num_tokens = 1,
                         .payload_bytes = item.payload_bytes};
    const auto created = store_.Create(session_, {block}, clock_.Now())[0];
    ASSERT_OK(created);
    WriteSentence(sentence, TestHello(),
                  std::span(arena_).subspan(created->offset, created->num_bytes));
    ASSERT_OK(store_.Seal(session_, {created->lease}, false)[0]);
    ASSERT_OK(store_.Release(session_, {created->lease}));
    events_.Append(store_.TakeNews().events);
  }
  static EntryKey KeyOf(const Sentence& sentence) {
    return {sentence.item.key, TestHello().layout};
  }
  uint32_t NumEntries() { return admin_->GetStats().store.index.num_entries; }

  std::vector<std::byte> arena_ = std::vector<std::byte>(1000 * kSmall);
  FakeClock clock_;
  EventFeed events_{100};
  BlockStore store_{Options(), CreateLruOrder(Options().index.order()), arena_};
  const SessionId session_ = store_.OpenSession().value();
  const TenantIdx small_ = store_.tenants().Add(20 * kSmall).value();
  std::unique_ptr<StoreAdmin> admin_ = std::make_unique<StoreAdmin>(
      &store_, &events_, std::map<std::string, TenantIdx>{{"small", small_}}, &clock_);
};

TEST_F(StoreAdminTest, StatsNameTheTenants) {
  Store(MakeSentence(1));
  Store(MakeSentence(2), small_);
  Store(MakeSentence(3), small_);
  const StoreStats stats = admin_->GetStats();
  EXPECT_EQ(stats.store.index.num_sealed, 3u);
  ASSERT_EQ(stats.tenants.size(), 2u);
  EXPECT_EQ(stats.tenants[0].name, "");
  EXPECT_EQ(stats.tenants[0].bytes, kSmall);
  EXPECT_EQ(stats.tenants[0].quota_bytes, 1000 * kSmall);
  EXPECT_EQ(stats.tenants[1].name, "small");
  EXPECT_EQ(stats.tenants[1].bytes, 2 * kSmall);
  EXPECT_EQ(stats.tenants[1].quota_bytes, 20 * kSmall);
}

TEST_F(StoreAdminTest, AListingIsReadInBoundedPages) {
  for (const Sentence& sentence : MakeChain(1, 600)) Store(sentence);
  std::set<std::string> keys;
  int num_pages = 0;
  for (std::optional<EntryIdx> at = 0; at.has_value(); ++num_pages) {
    const EntryPage page = admin_->ListEntries(*at, UINT32_MAX);
    EXPECT_LE(page.entries.size(), StoreAdmin::kMaxListed);
    for (const EntryInfo& entry : page.entries) {
      EXPECT_TRUE(keys.insert(ToHex(entry.key.prefix)).second);
    }
    at = page.next;
  }
  EXPECT_EQ(keys.size(), 600u);
  EXPECT_EQ(num_pages, 3);
  EXPECT_EQ(admin_->ListEntries(0, 7).next, 7u);
}

TEST_F(StoreAdminTest, ASnapshotIsAsOfItsSequence) {
  for (const Sentence& sentence : MakeChain(1, 50)) Store(sentence);
  const SnapshotPage page = admin_->ReadSnapshot(0);
  EXPECT_EQ(page.entries.size(), 50u);
  EXPECT_EQ(page.sequence, 51u);
  EXPECT_EQ(page.next, std::nullopt);
}

TEST_F(StoreAdminTest, APinHoldsForItsTime) {
  Store(MakeSentence(1));
  EXPECT_OK(admin_->Pin(KeyOf(MakeSentence(1)), seconds(5)));
  EXPECT_EQ(admin_->Purge(std::nullopt, 10).num_entries, 0u);
  clock_.Advance(seconds(5));
  EXPECT_EQ(admin_->Purge(std::nullopt, 10).num_entries, 1u);
  EXPECT_THAT(admin_->Unpin(KeyOf(MakeSentence(1))),
              StatusIs(StatusCode::kNotFound, HasSubstr("key")));
}

TEST_F(StoreAdminTest, ATenantIsFoundByNameAndPurgedAlone) {
  Store(MakeSentence(1));
  Store(MakeSentence(2), small_);
  EXPECT_THAT(admin_->FindTenant("large"), StatusIs(StatusCode::kNotFound, HasSubstr("'large'")));
  EXPECT_EQ(admin_->FindTenant("").value(), TenantIdx{0});
  EXPECT_EQ(admin_->NameOf(small_), "small");
  EXPECT_EQ(admin_->NameOf(0), "");
  const Purged purged = admin_->Purge(admin_->FindTenant("small").value(), 10);
  EXPECT_EQ(purged.num_entries, 1u);
  EXPECT_TRUE(purged.is_done);
  EXPECT_EQ(NumEntries(), 1u);
}

TEST_F(StoreAdminTest, APurgeStopsAtItsMostEntriesAndInTime) {
  for (int i = 1; i <= 100; ++i) Store(MakeSentence(i));
  const Purged some = admin_->Purge(std::nullopt, 21);
  EXPECT_EQ(some.num_entries, 21u);
  EXPECT_EQ(some.bytes, 21 * kSmall);
  EXPECT_FALSE(some.is_done);
  // Each look at this clock takes half of the time that a step has.
  class TickingClock : public Clock {
   public:
    TimePoint Now() const override { return now_ += StoreAdmin::kMaxPurgeTime / 2; }

   private:
    mutable TimePoint now_;
  };
  const TickingClock ticking;
  StoreAdmin hurried(&store_, &events_, {}, &ticking);
  const Purged step = hurried.Purge(std::nullopt, 1000);
  EXPECT_GT(step.num_entries, 0u);
  EXPECT_LT(step.num_entries, 79u);
  EXPECT_FALSE(step.is_done);
}

}  // namespace
}  // namespace skv::kvstore
