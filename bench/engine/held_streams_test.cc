#include "bench/engine/held_streams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "bench/engine/bench_session.h"

namespace skv::bench {
namespace {

// Steps all its streams in one thread; stream i has its first token in step i.
class FakeTarget : public BenchTarget {
 public:
  explicit FakeTarget(int num_streams) : num_streams_(num_streams) {}
  ~FakeTarget() override {
    if (thread_.joinable()) thread_.join();
  }
  int num_steps() const { return num_steps_; }
  nlohmann::json Info() const override { return nlohmann::json::object(); }
  absl::Status Start(const std::vector<TokenId>&, int max_tokens,
                     std::shared_ptr<TokenLog> stream) override {
    streams_.push_back({std::move(stream), max_tokens});
    if (static_cast<int>(streams_.size()) == num_streams_) thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

 private:
  struct Stream {
    std::shared_ptr<TokenLog> log;
    int left;
  };
  void Run() {
    for (int step = 0; !streams_.empty(); ++step) {
      std::vector<Stream> live;
      ++num_steps_;
      for (int i = 0; i < static_cast<int>(streams_.size()); ++i) {
        Stream& stream = streams_[i];
        const bool go_on = i > step || (stream.log->Add(0, 0) && --stream.left > 0);
        if (!go_on) stream.log->Finish(absl::OkStatus(), {.positions = 1});
        if (go_on) live.push_back(stream);
      }
      streams_ = live;
    }
  }

  const int num_streams_;
  std::atomic<int> num_steps_ = 0;
  std::vector<Stream> streams_;
  std::thread thread_;
};

TEST(HeldStreamsTest, GoOnByAsManyStepsAsAreAskedFor) {
  FakeTarget target(3);
  HeldStreams held;
  ASSERT_TRUE(held.Fill(&target, {{1, 2}, {3}, {4}}, 100).ok());
  EXPECT_EQ(target.num_steps(), 3);
  for (const int n : {1, 5, 2}) {
    const int before = target.num_steps();
    const auto reply = held.Continue(n);
    EXPECT_EQ(target.num_steps(), before + n);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ((*reply)["tokens"], 3 * n);
    EXPECT_GE((*reply)["seconds"], (*reply)["median_token_seconds"]);
  }
  EXPECT_EQ((*held.End())["kv_positions"], 3);
  EXPECT_TRUE(absl::IsFailedPrecondition(held.Continue(1).status()));
}

TEST(HeldStreamsTest, AStreamThatEndsIsNotMeasured) {
  FakeTarget target(2);
  HeldStreams held;
  ASSERT_TRUE(held.Fill(&target, {{1}, {2}}, 6).ok());
  EXPECT_TRUE(held.Continue(3).ok());  // stream 0 has five tokens, stream 1 four
  EXPECT_TRUE(absl::IsAborted(held.Continue(3).status()));
  EXPECT_EQ((*held.End())["kv_positions"], 2);
}

TEST(HeldStreamsTest, NothingWaitsForWhatIsGivenUp) {
  FakeTarget target(2);
  HeldStreams held;
  ASSERT_TRUE(held.Fill(&target, {{1}, {2}}, 6).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(held.Fill(&target, {{1}}, 6).status()));
}

}  // namespace
}  // namespace skv::bench
