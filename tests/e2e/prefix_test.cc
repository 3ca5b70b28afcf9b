// Prompts with a common beginning meet where that was computed.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

constexpr int kNumDocuments = 3;

// About 700 tokens, which are bytes for the most part; no two have a beginning in common.
std::string Document(int number) {
  std::string text = "Report " + std::to_string(number) + ". ";
  for (int i = 0; i < 16; ++i) {
    text += "Room " + std::to_string(number) + " had number " + std::to_string(i * 37 % 11) +
            " on its door. ";
  }
  return text;
}

struct Calls {
  void Ask(const Cluster& cluster, const char* question) {
    for (int i = 0; i < kNumDocuments; ++i) {
      calls.push_back(std::make_unique<eval::StreamCall>(
          cluster.channel(), TextRequest(Document(i) + question, 4), kPatience));
    }
  }
  // In the order of Ask.
  std::vector<int64_t> CachedTokens() {
    std::vector<int64_t> cached;
    for (const auto& call : calls) {
      const eval::StreamResult result = call->Wait();
      EXPECT_TRUE(result.status.ok()) << result.status.error_message();
      cached.push_back(result.num_cached_tokens);
    }
    return cached;
  }
  std::vector<std::unique_ptr<eval::StreamCall>> calls;
};

TEST(PrefixTest, TheSecondQuestionOnADocumentIsAskedWhereItWasReadForTheFirst) {
  ASSERT_OK_AND_ASSIGN(const auto cluster,
                       Cluster::Start({.num_groups = 2, .tensor_parallel_size = 1}));
  Calls first, second;
  first.Ask(*cluster, "Who?");
  for (const int64_t cached : first.CachedTokens()) EXPECT_EQ(cached, 0);
  second.Ask(*cluster, "Whose was it?");
  int64_t all_cached = 0;
  for (const int64_t cached : second.CachedTokens()) {
    EXPECT_GT(cached, 400);
    all_cached += cached;
  }
  EXPECT_EQ(cluster->Metric("router", "skv_router_prefix_cached_tokens_total"), all_cached);
  const double expected = cluster->Metric("router", "skv_router_prefix_expected_tokens_total");
  EXPECT_GT(expected, all_cached / 2);
  EXPECT_LE(expected, all_cached);
}

TEST(PrefixTest, OfTwoQuestionsAtTheSameTimeOneWaitsForTheOther) {
  ASSERT_OK_AND_ASSIGN(const auto cluster,
                       Cluster::Start({.num_groups = 2, .tensor_parallel_size = 1}));
  Calls calls;
  calls.Ask(*cluster, "Who?");
  calls.Ask(*cluster, "Whose was it?");
  const std::vector<int64_t> cached = calls.CachedTokens();
  for (int i = 0; i < kNumDocuments; ++i) {
    EXPECT_GT(std::max(cached[i], cached[i + kNumDocuments]), 400) << "document " << i;
  }
}

TEST(PrefixTest, AGroupThatRestartsIsNotSoughtForWhatItHad) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, Cluster::Start({.tensor_parallel_size = 1}));
  const auto expected = [&] {
    return cluster->Metric("router", "skv_router_prefix_expected_tokens_total");
  };
  const v1::GenerateRequest request = TextRequest(Document(0) + "Who?", 4);
  ASSERT_TRUE(eval::Call(cluster->channel(), request, kPatience).status.ok());
  ASSERT_TRUE(eval::Call(cluster->channel(), request, kPatience).status.ok());
  const double before = expected();
  EXPECT_GT(before, 400);
  EXPECT_GT(cluster->Metric("router", "skv_router_prefix_index_keys"), 0);
  const pid_t pid = cluster->Pid("group 0 rank 0");
  kill(pid, SIGKILL);
  // The router notices with its next probe, and forgets.
  ASSERT_TRUE(Eventually([&] {
    const pid_t now = cluster->Pid("group 0 rank 0");
    return now != 0 && now != pid && cluster->Serves() &&
           cluster->Metric("router", "skv_router_prefix_index_keys") == 0;
  }));
  ASSERT_TRUE(eval::Call(cluster->channel(), request, kPatience).status.ok());
  EXPECT_EQ(expected(), before);
}

}  // namespace
}  // namespace skv::e2e
