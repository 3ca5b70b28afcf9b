// Clusters with a skv-kvstore that the router follows: it knows what the store has, whoever read
// it, and what the store evicts; and no request depends on that.

#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

constexpr const char* kStreams = "skv_router_watch_streams";
constexpr const char* kKeys = "skv_router_prefix_index_keys";

// About 700 tokens, which are bytes for the most part; no two have a beginning in common.
std::string Document(int number) {
  std::string text = absl::StrCat("Report ", number, ". ");
  for (int i = 0; i < 16; ++i) {
    absl::StrAppend(&text, "Room ", number, " had number ", i * 37 % 11, " on its door. ");
  }
  return text;
}

class FollowedStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(
        cluster_,
        Cluster::Start({.num_groups = 2,
                        .tensor_parallel_size = 1,
                        .flags = {"--kvstore", "--kvstore-flag=--arena-bytes=67108864"}}));
    ASSERT_TRUE(Eventually([&] { return Follows(); })) << cluster_->Output();
  }

  double Router(const char* metric, std::string_view label = "") const {
    return cluster_->Metric("router", metric, label);
  }
  // Both groups are known, and their store.
  bool Follows() const {
    return Router("skv_router_groups", "healthy") == 2 && Router(kStreams, "following") == 1 &&
           Router(kStreams, "other") == 0;
  }
  struct Tokens {
    double expected = 0;  // to be cached
    int64_t cached = 0;
  };
  // Of one question on the document.
  Tokens Ask(int document) {
    const double before = Router("skv_router_prefix_expected_tokens_total");
    const eval::StreamResult result =
        eval::Call(cluster_->channel(), TextRequest(Document(document) + "Who?", 4), kPatience);
    EXPECT_TRUE(result.status.ok()) << result.status.error_message();
    return {Router("skv_router_prefix_expected_tokens_total") - before, result.num_cached_tokens};
  }
  void Purge() {
    int port = 0;
    ASSERT_TRUE(
        absl::SimpleAtoi(cluster_->endpoint().substr(cluster_->endpoint().rfind(':') + 1), &port));
    Program purge("skv", {"kvstore", "purge", "--endpoint", absl::StrCat("127.0.0.1:", port + 3)});
    const auto ended = purge.child().Wait(kPatience);
    ASSERT_TRUE(ended.has_value());
    EXPECT_EQ(ended->code, 0) << purge.Output();
  }
  void Kill(const char* process) {
    const pid_t pid = cluster_->Pid(process);
    ASSERT_GT(pid, 0);
    kill(pid, SIGKILL);
  }

  std::unique_ptr<Cluster> cluster_;
};

TEST_F(FollowedStoreTest, WhatOneGroupReadIsExpectedOfTheOtherOneToo) {
  EXPECT_EQ(Ask(1).expected, 0);
  // The other group's turn: it has done less of late.
  const Tokens second = Ask(1);
  EXPECT_GT(second.expected, 400);
  EXPECT_EQ(second.cached, second.expected);
  for (const char* group : {"group 0 rank 0", "group 1 rank 0"}) {
    EXPECT_GT(cluster_->Metric(group, "skv_worker_prefix_cache_queried_tokens_total"), 0) << group;
  }
}

TEST_F(FollowedStoreTest, ARouterThatIsStartedAnewHearsWhatIsThereAlready) {
  EXPECT_EQ(Ask(1).expected, 0);
  const pid_t pid = cluster_->Pid("router");
  Kill("router");
  ASSERT_TRUE(Eventually([&] {
    const pid_t now = cluster_->Pid("router");
    return now != 0 && now != pid && Follows() && cluster_->Serves();
  }));
  const Tokens tokens = Ask(1);
  EXPECT_GT(tokens.expected, 400);
  EXPECT_LE(tokens.expected, tokens.cached);
}

TEST_F(FollowedStoreTest, WhatTheStoreEvictsIsExpectedNoMore) {
  Ask(1);
  Ask(2);
  EXPECT_GT(Ask(1).expected, 400);
  EXPECT_GT(Router(kKeys), 0);
  Purge();
  EXPECT_TRUE(Eventually([&] { return Router("skv_router_watch_events_total", "removed") > 0; }));
  EXPECT_TRUE(Eventually([&] {
    const Tokens tokens = Ask(1);
    Purge();
    return tokens.expected == 0 && tokens.cached == 0;
  }));
}

TEST_F(FollowedStoreTest, AStoreThatIsKilledIsForgottenAndTheNextOneFollowed) {
  Ask(1);
  EXPECT_GT(Ask(1).expected, 400);
  Kill("kvstore");
  EXPECT_EQ(Ask(2).cached, 0);
  ASSERT_TRUE(Eventually([&] {
    Ask(3);
    return Follows() && Router("skv_router_watch_snapshots_total") >= 2;
  }));
  // Of the dead store.
  const Tokens tokens = Ask(1);
  EXPECT_EQ(tokens.expected, 0);
  EXPECT_EQ(tokens.cached, 0);
  EXPECT_GT(Ask(1).expected, 400);
}

TEST_F(FollowedStoreTest, AStoreThatStandsStillDisturbsNoRouter) {
  Ask(1);
  const pid_t store = cluster_->Pid("kvstore");
  ASSERT_GT(store, 0);
  kill(store, SIGSTOP);
  // Workers wait for it once, for seconds, and go on without it.
  for (int document = 2; document < 12; ++document) Ask(document);
  EXPECT_EQ(Router("skv_router_groups", "healthy"), 2);
  EXPECT_EQ(Router("skv_router_retries_total"), 0);
  EXPECT_TRUE(Eventually([&] { return Router(kStreams, "following") == 0; }));
  EXPECT_GT(Ask(11).cached + Ask(11).cached + Ask(11).cached, 400);
  kill(store, SIGCONT);
  EXPECT_TRUE(Eventually([&] { return Follows(); })) << cluster_->Output();
  Ask(12);
  EXPECT_GT(Ask(12).expected, 400);
}

}  // namespace
}  // namespace skv::e2e
