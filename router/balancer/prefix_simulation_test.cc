// A synthetic day of questions on documents and of chats, played to four simulated groups under
// each policy. What is asserted is what prefix_aware is for: nearly the hits that one cache of the
// size of all four would have, and work that is shared evenly nevertheless.

#include <cmath>
#include <cstdio>
#include <queue>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "router/balancer/testing/numbered_chain.h"
#include "router/balancer/testing/simulated_cluster.h"

namespace skv::router {
namespace {

constexpr int kSentenceTokens = 20;

struct TraceOptions {
  int num_conversations = 2000;
  int num_documents = 400;
  int shortest_document = 50, longest_document = 400;  // sentences
  uint64_t seed = 1;
};
constexpr TraceOptions kDay;
// Over before chance has evened out which groups read the popular documents.
constexpr TraceOptions kHour = {
    .num_conversations = 200, .num_documents = 40, .shortest_document = 30, .longest_document = 70};

// The same numbers everywhere: distributions of <random> differ between libraries.
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}
  uint64_t Next() {  // splitmix64
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double Share() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  int Between(int low, int high) { return low + static_cast<int>(Next() % (high - low + 1)); }

 private:
  uint64_t state_;
};

// What one client asks, turn by turn: each prompt is the one before, its answer and more.
struct Conversation {
  double next_time = 0;
  int turns_left = 1;
  std::vector<NumberedSentences> parts;

  bool operator>(const Conversation& other) const { return next_time > other.next_time; }
};

class Trace {
 public:
  explicit Trace(const TraceOptions& options) : dice_(options.seed) {
    double total = 0;
    for (int i = 1; i <= options.num_documents; ++i) {
      zipf_.push_back(total += 1.0 / i);
      lengths_.push_back(dice_.Between(options.shortest_document, options.longest_document));
    }
  }

  // Half are questions on a document, half are chats of 2 to 8 turns under one of five system
  // prompts, a quarter of them on a document, too.
  Conversation Begin(double time) {
    Conversation result{.next_time = time};
    const bool is_chat = dice_.Share() < 0.5;
    if (is_chat) {
      result.turns_left = dice_.Between(2, 8);
      result.parts.push_back({kSystemPrompts + 1000 * dice_.Between(0, 4), 30});
    }
    if (!is_chat || dice_.Share() < 0.25) {
      const int document = DrawDocument();
      result.parts.push_back({1000 * document, lengths_[document]});
    }
    Say(&result, 3, 12);
    return result;
  }
  // Its answer, and the next question.
  void GoOn(Conversation* conversation) { Say(conversation, 8, 30); }

  Dice& dice() { return dice_; }

 private:
  static constexpr int kSystemPrompts = 1 << 20, kFresh = 1 << 21;

  int DrawDocument() {
    const double drawn = dice_.Share() * zipf_.back();
    return static_cast<int>(std::ranges::lower_bound(zipf_, drawn) - zipf_.begin());
  }
  void Say(Conversation* conversation, int low, int high) {
    const int count = dice_.Between(low, high);
    conversation->parts.push_back({kFresh + next_fresh_, count});
    next_fresh_ += count;
  }

  Dice dice_;
  std::vector<double> zipf_;  // sums
  std::vector<int> lengths_;
  int next_fresh_ = 0;
};

struct Result {
  SimulatedCluster::Totals totals;
  double bound = 0;  // hit ratio of one cache as large as all together
};

Result Simulate(const std::string& policy, const SimulatedCluster::Options& options,
                const TraceOptions& trace_options, double requests_per_second) {
  SimulatedCluster cluster(options, policy);
  LruCache pooled(options.num_groups * options.cache_tokens);
  int64_t pooled_hits = 0;
  Trace trace(trace_options);
  std::priority_queue<Conversation, std::vector<Conversation>, std::greater<>> waiting;
  double arrival = 0;
  for (int i = 0; i < trace_options.num_conversations; ++i) {
    arrival -= std::log(1 - trace.dice().Share()) / requests_per_second;
    waiting.push(trace.Begin(arrival));
  }
  while (!waiting.empty()) {
    Conversation conversation = waiting.top();
    waiting.pop();
    const PrefixChain prompt = NumberedChain(conversation.parts, kSentenceTokens);
    pooled_hits += pooled.Use(prompt, [](const PrefixKey&) {});
    const double end =
        cluster.Run(conversation.next_time, prompt, prompt.ends.back() + 10, /*output_tokens=*/200);
    if (--conversation.turns_left == 0) continue;
    trace.GoOn(&conversation);
    conversation.next_time = end + trace.dice().Between(2, 30);
    waiting.push(std::move(conversation));
  }
  return {cluster.totals(), double(pooled_hits) / double(cluster.totals().prompt_tokens)};
}

std::string Describe(const Result& result) {
  char line[256];
  std::snprintf(line, sizeof(line),
                "hit ratio %.3f of at most %.3f, expected/cached %.3f, imbalance %.3f, "
                "mean first token %.2f s",
                result.totals.hit_ratio(), result.bound,
                double(result.totals.expected_tokens) / double(result.totals.cached_tokens),
                result.totals.imbalance(), result.totals.ttft_seconds / result.totals.num_requests);
  return line;
}

// At the lower rate groups are idle most of the time; at the higher one they compute most of it.
TEST(PrefixSimulationTest, HitsAreNearlyThoseOfOneCacheAndWorkIsShared) {
  for (const double requests_per_second : {0.5, 2.5}) {
    for (const bool reports_evictions : {false, true}) {
      const Result result = Simulate(
          "prefix_aware", {.cache_tokens = 200'000, .reports_evictions = reports_evictions}, kDay,
          requests_per_second);
      SCOPED_TRACE(Describe(result));
      EXPECT_GE(result.totals.hit_ratio(), 0.95 * result.bound);
      EXPECT_LE(result.totals.imbalance(), 1.3);
      const double expected = double(result.totals.expected_tokens);
      EXPECT_GE(expected, 0.95 * double(result.totals.cached_tokens));
      EXPECT_LE(expected, (reports_evictions ? 1.05 : 1.15) * double(result.totals.cached_tokens));
    }
  }
}

// In a day everything evens out; work is shared in a short time, too, while most groups are idle.
TEST(PrefixSimulationTest, WorkIsSharedWithinAnHour) {
  int num_uneven = 0;
  double hit_ratio = 0, bound = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    TraceOptions options = kHour;
    options.seed = seed;
    const Result result = Simulate("prefix_aware", {.cache_tokens = 50'000}, options, 0.9);
    if (result.totals.imbalance() > 1.3) ++num_uneven;
    hit_ratio += result.totals.hit_ratio();
    bound += result.bound;
  }
  EXPECT_EQ(num_uneven, 0);
  EXPECT_GE(hit_ratio, 0.98 * bound);
  RecordProperty("uneven", num_uneven);
  RecordProperty("hit_share", std::to_string(hit_ratio / bound));
}

// The trace is one in which it matters: without looking at prefixes a third of the hits is lost.
TEST(PrefixSimulationTest, LeastOutstandingTokensHasFarFewerHitsAndLaterFirstTokens) {
  const SimulatedCluster::Options cluster = {.cache_tokens = 200'000};
  const Result by_load = Simulate("least_outstanding_tokens", cluster, kDay, 2);
  const Result by_prefix = Simulate("prefix_aware", cluster, kDay, 2);
  SCOPED_TRACE("by load: " + Describe(by_load) + "; by prefix: " + Describe(by_prefix));
  EXPECT_LE(by_load.totals.hit_ratio(), 0.67 * by_prefix.totals.hit_ratio());
  EXPECT_LE(by_load.totals.imbalance(), 1.3);
  EXPECT_GE(by_load.totals.ttft_seconds, 1.5 * by_prefix.totals.ttft_seconds);
}

}  // namespace
}  // namespace skv::router
