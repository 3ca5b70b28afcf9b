// A router's index that follows real stores, in this process.

#include "router/stores/store_follower.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/testing/eventually.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/grpc/testing/store_fixture.h"
#include "kvstore/server/testing/test_client.h"

namespace skv::router {
namespace {

using kvstore::MakeChain;
using kvstore::Sentence;
using kvstore::TestStore;

constexpr int kSentenceTokens = 10;

class StoreFollowerTest : public testing::Test {
 protected:
  StoreFollowerTest() {
    const std::vector<CacheId> caches = {0, 1, 2};
    prefixes_->SetCaches(caches);
  }

  static PrefixChain ChainOf(const std::vector<Sentence>& sentences) {
    PrefixChain chain;
    chain.keys = kvstore::KeysOf(sentences);
    for (size_t i = 1; i <= sentences.size(); ++i) {
      chain.ends.push_back(static_cast<int>(i) * kSentenceTokens);
    }
    return chain;
  }
  static std::string IdOf(const TestStore& store) {
    const auto client = store.Connect();
    const auto& epoch = client->welcome().epoch;
    return absl::BytesToHexString({reinterpret_cast<const char*>(epoch.data()), epoch.size()});
  }
  // Sealed and held by nobody.
  static void Store(const TestStore& store, const std::vector<Sentence>& sentences) {
    const auto client = store.Connect();
    for (const Sentence& sentence : sentences) ASSERT_TRUE(client->Store(sentence).has_value());
  }
  static void Purge(const TestStore& store) {
    const auto stub = store.NewStub();
    grpc::ClientContext context;
    kvstore::v1::PurgeResponse response;
    EXPECT_TRUE(stub->Purge(&context, {}, &response).ok());
  }

  // A group that reports this.
  void Report(GroupId group, CacheId cache, const std::string& store_id,
              const std::string& address) {
    cluster_.groups[group] = {
        .cache_id = cache, .store_id = store_id, .store_watch_address = address};
  }
  // Looks until then.
  bool Becomes(const std::function<bool()>& condition) {
    return Eventually([&] {
      follower_->Update(cluster_);
      return condition();
    });
  }
  bool Follows(int num_stores) {
    return Becomes([&] { return follower_->stats().num_following == num_stores; });
  }
  int64_t Cached(CacheId cache, const std::vector<Sentence>& sentences) {
    const std::vector<CacheId> caches = {cache};
    return prefixes_->CachedTokens(ChainOf(sentences), caches)[0];
  }
  bool ComesToHave(CacheId cache, const std::vector<Sentence>& sentences, int64_t num_tokens) {
    return Becomes([&] { return Cached(cache, sentences) == num_tokens; });
  }

  Cluster cluster_;
  std::shared_ptr<PrefixIndex> prefixes_ = std::make_shared<PrefixIndex>(10'000);
  std::unique_ptr<StoreFollower> follower_ =
      std::make_unique<StoreFollower>(StoreFollowerOptions{.max_stores = 2}, prefixes_);
};

TEST_F(StoreFollowerTest, TheIndexHasWhatTheStoreHasAndLosesWhatItEvicts) {
  TestStore store({.watch_stride = kPrefixStride});
  const std::vector<Sentence> before = MakeChain(1, 30), after = MakeChain(1000, 30);
  Store(store, before);
  Report(0, 1, IdOf(store), store.address());
  // Samples are 0 to 8, 16 and 24. Each sentence was sealed as no tip.
  EXPECT_TRUE(ComesToHave(1, before, 250));
  EXPECT_EQ(Cached(1, after), 0);
  Store(store, after);
  EXPECT_TRUE(ComesToHave(1, after, 250));
  EXPECT_EQ(Cached(2, after), 0);
  Purge(store);
  EXPECT_TRUE(ComesToHave(1, before, 0));
  EXPECT_TRUE(ComesToHave(1, after, 0));
  const StoreFollowerStats stats = follower_->stats();
  EXPECT_EQ(stats.num_snapshots, 1u);
  EXPECT_EQ(stats.num_added, 22u);
  EXPECT_EQ(stats.num_removed, 22u);
}

// Also the keys that the store was not told to announce: the last one of a prompt.
TEST_F(StoreFollowerTest, WhatTheRouterPromisedGoesWithTheStoresEviction) {
  TestStore store({.watch_stride = kPrefixStride});
  const std::vector<Sentence> prompt = MakeChain(1, 30);
  Report(0, 1, IdOf(store), store.address());
  ASSERT_TRUE(Follows(1));
  prefixes_->PromisePrompt(1, ChainOf(prompt));
  EXPECT_EQ(Cached(1, prompt), 300);
  Store(store, prompt);
  EXPECT_EQ(Cached(1, prompt), 300);
  Purge(store);
  EXPECT_TRUE(ComesToHave(1, prompt, 0));
}

TEST_F(StoreFollowerTest, GroupsOfOneStoreAreOneStreamAndOneCache) {
  TestStore store;
  Report(0, 1, IdOf(store), store.address());
  Report(1, 1, IdOf(store), store.address());
  Report(2, 1, IdOf(store), "localhost" + store.address().substr(store.address().find(':')));
  const std::vector<Sentence> prompt = MakeChain(1, 5);
  Store(store, prompt);
  EXPECT_TRUE(ComesToHave(1, prompt, 50));
  EXPECT_TRUE(Follows(1));
  EXPECT_EQ(store.grpc().service().watch_gauges().num_streams, 1u);
}

TEST_F(StoreFollowerTest, GroupsThatNameNoStoreOrNoAddressAreNotFollowed) {
  Report(0, 0, "", "127.0.0.1:1");
  Report(1, 1, "0123", "");
  follower_->Update(cluster_);
  const StoreFollowerStats stats = follower_->stats();
  EXPECT_EQ(stats.num_following + stats.num_connecting + stats.num_other, 0);
}

TEST_F(StoreFollowerTest, AStoreThatIsStartedAnewIsIgnoredUntilWorkersReportIt) {
  auto store = std::make_unique<TestStore>();
  const int port = store->port();
  const std::vector<Sentence> first = MakeChain(1, 5), second = MakeChain(1000, 5);
  Store(*store, first);
  const std::string first_id = IdOf(*store);
  Report(0, 1, first_id, store->address());
  ASSERT_TRUE(ComesToHave(1, first, 50));
  store.reset();
  store = std::make_unique<TestStore>(kvstore::TestStoreOptions{.port = port});
  ASSERT_NE(IdOf(*store), first_id);
  Store(*store, second);
  EXPECT_TRUE(Becomes([&] { return follower_->stats().num_other == 1; }));
  EXPECT_EQ(Cached(1, second), 0);
  // As membership does: a new id is a new cache.
  Report(0, 2, IdOf(*store), store->address());
  EXPECT_TRUE(ComesToHave(2, second, 50));
  EXPECT_EQ(Cached(2, first), 0);
  EXPECT_TRUE(Follows(1));
  EXPECT_EQ(follower_->stats().num_other, 0);
}

TEST_F(StoreFollowerTest, WhatIsMissedWhileTheStreamIsCutComesWithTheNextCall) {
  TestStore store;
  const std::vector<Sentence> first = MakeChain(1, 5), second = MakeChain(1000, 5);
  Store(store, first);
  Report(0, 1, IdOf(store), store.address());
  ASSERT_TRUE(ComesToHave(1, first, 50));
  store.StopGrpc();
  EXPECT_TRUE(Becomes([&] { return follower_->stats().max_outage > Duration(0); }));
  EXPECT_EQ(Cached(1, first), 50);
  Store(store, second);
  store.StartGrpc();
  EXPECT_TRUE(ComesToHave(1, second, 50));
  EXPECT_TRUE(Follows(1));
  EXPECT_EQ(follower_->stats().max_outage, Duration(0));
}

TEST_F(StoreFollowerTest, AStoreThatNobodyNamesAnyMoreIsLeft) {
  TestStore store;
  Report(0, 1, IdOf(store), store.address());
  ASSERT_TRUE(Follows(1));
  cluster_.groups.clear();
  EXPECT_TRUE(Follows(0));
  EXPECT_TRUE(Eventually([&] { return store.grpc().service().watch_gauges().num_streams == 0; }));
}

// Nobody listens there: the follower goes on trying, and ends at once.
TEST_F(StoreFollowerTest, NoMoreStoresAreFollowedThanMayBe) {
  for (int i = 0; i < 3; ++i) Report(i, i, "0123", "127.0.0.1:1");
  follower_->Update(cluster_);
  EXPECT_EQ(follower_->stats().num_connecting, 2);
  EXPECT_EQ(follower_->stats().num_refused, 1);
  cluster_.groups.erase(0);
  follower_->Update(cluster_);
  EXPECT_EQ(follower_->stats().num_connecting, 2);
  EXPECT_EQ(follower_->stats().num_refused, 0);
}

}  // namespace
}  // namespace skv::router
