// Relays under threads, without gRPC: what TSan can see whole.

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "common/mutex.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/router.h"
#include "router/task_queue.h"
#include "router/testing/fake_group_client.h"

namespace skv::router {
namespace {

// Plays each stream on another thread, and now and then fails it, before or after its first token.
class ThreadedGroupClient : public GroupClient {
 public:
  // What fails in a group of one salt may not in another's.
  ThreadedGroupClient(TaskQueue* threads, uint64_t salt) : threads_(threads), salt_(salt) {}

  void Probe(Duration, std::function<void(absl::StatusOr<ProbeResult>)> callback) override {
    callback(ProbeResult{.serving = true, .load = {.epoch = 1}});
  }
  void FetchModelInfo(Duration, std::function<void(absl::StatusOr<ModelInfo>)> callback) override {
    callback(TinyModel());
  }
  std::shared_ptr<GroupStream> Generate(const GroupRequest& request, Deadline,
                                        std::shared_ptr<GroupStreamHandler> handler) override {
    auto stream = std::make_shared<Stream>();
    const uint64_t luck = request.seeds[0] + salt_;
    const int begin = static_cast<int>(request.resume_ids.size());
    const int32_t num_samples = static_cast<int32_t>(request.seeds.size());
    threads_->Post([stream, luck, begin, num_samples, handler = std::move(handler)] {
      if (luck % 5 == 0) return handler->OnDone(absl::ResourceExhaustedError("queue full"));
      for (int i = begin; i < 20; ++i) {
        if (stream->cancelled) return handler->OnDone(absl::CancelledError("cancelled"));
        if (luck % 7 == 0 && i == 10) return handler->OnDone(absl::AbortedError("step failed"));
        for (int32_t s = 0; s < num_samples; ++s) {
          handler->OnEvent({.sample_idx = s, .tokens = {{.id = 'a' + i}}});
        }
      }
      for (int32_t s = 0; s < num_samples; ++s) {
        handler->OnEvent({.sample_idx = s, .finish = GroupFinish{FinishReason::kLength, ""}});
      }
      handler->OnDone(absl::OkStatus());
    });
    return stream;
  }
  void CancelSamples(std::string, std::vector<int32_t>) override {}

 private:
  struct Stream : GroupStream {
    void Cancel() override { cancelled = true; }
    std::atomic<bool> cancelled{false};
  };

  TaskQueue* const threads_;
  const uint64_t salt_;
};

class CountingClient : public ClientStream {
 public:
  bool Write(Event event) override {
    MutexLock lock(&mutex_);
    if (num_finishes_ > 0) return true;
    texts_[event.sample_idx] += event.text;
    if (event.finish.has_value()) ++num_samples_ended_;
    if (event.timings.has_value()) num_migrations_ = event.timings->num_migrations;
    return true;
  }
  void Finish(absl::Status status) override {
    MutexLock lock(&mutex_);
    ++num_finishes_;
    status_ = std::move(status);
    finished_.NotifyAll();
  }
  // True when Finish came once and the texts agree with its status.
  bool WaitAndCheck(int num_samples) {
    MutexLock lock(&mutex_);
    finished_.WaitUntil(&mutex_, RealClock().Now() + std::chrono::seconds(60),
                        [this] { return num_finishes_ > 0; });
    const std::string whole = "abcdefghijklmnopqrst";
    if (num_finishes_ != 1 || (status_.ok() && num_samples_ended_ != num_samples)) return false;
    return std::ranges::all_of(texts_, [&](const auto& entry) SKV_REQUIRES(mutex_) {
      return status_.ok() ? entry.second == whole : whole.starts_with(entry.second);
    });
  }
  int num_migrations() {
    MutexLock lock(&mutex_);
    return num_migrations_;
  }

 private:
  Mutex mutex_;
  CondVar finished_;
  std::map<int32_t, std::string> texts_ SKV_GUARDED_BY(mutex_);
  int num_samples_ended_ SKV_GUARDED_BY(mutex_) = 0;
  int num_migrations_ SKV_GUARDED_BY(mutex_) = 0;
  absl::Status status_ SKV_GUARDED_BY(mutex_);
  int num_finishes_ SKV_GUARDED_BY(mutex_) = 0;
};

// With a single group what is lost can only wait for it.
class RelayStressTest : public testing::TestWithParam<std::vector<std::string>> {};
INSTANTIATE_TEST_SUITE_P(Groups, RelayStressTest,
                         testing::Values(std::vector<std::string>{"a:1", "b:2", "c:3"},
                                         std::vector<std::string>{"a:1"}),
                         [](const auto& info) { return std::to_string(info.param.size()); });

TEST_P(RelayStressTest, EveryRequestEndsOnceAndNothingStaysBehind) {
  constexpr int kNumClients = 4;
  constexpr int kRequestsPerClient = 100;
  std::atomic<int> num_ended{0}, num_migrations{0}, num_resumed{0};
  {
    TaskQueue threads(4);
    const auto prefixes = std::make_shared<PrefixIndex>(16);  // few: the oldest go all the time
    Membership membership(
        {.probe_interval = std::chrono::milliseconds(4)},
        MakeStaticWorkerSource(GetParam()).value(),
        [&](const std::string& address) {
          return std::make_shared<ThreadedGroupClient>(&threads, address[0]);
        },
        FindPolicy("prefix_aware", prefixes).value(), &RealClock(), prefixes);
    for (int i = 0; i < 4; ++i) membership.Tick();
    membership.Start();
    std::atomic<uint64_t> draws{0};
    // Short: a group that has no room for a request never has.
    Router router(
        RouterOptions{.migration_wait = std::chrono::milliseconds(100)}, &membership, &RealClock(),
        [&] { return ++draws; },
        [&](const RelayStats& stats) {
          ++num_ended;
          num_resumed += stats.waits.of(WaitOutcome::kResumed);
        });
    std::vector<std::thread> clients;
    clients.reserve(kNumClients);
    for (int c = 0; c < kNumClients; ++c) {
      clients.emplace_back([&, c] {
        std::mt19937 random(c);
        for (int i = 0; i < kRequestsPerClient; ++i) {
          // Fresh requests would be refused at once.
          while (membership.snapshot()->num_healthy_groups() == 0) std::this_thread::yield();
          Request request;
          const std::string name(1, static_cast<char>('a' + random() % 9));
          request.prompt = TextPrompt{"This is " + name + ". It is here. It has an end. Who"};
          request.max_tokens = 20;
          request.n = 1 + i % 3;
          const auto client = std::make_shared<CountingClient>();
          const auto relay = router.Generate(request, Deadline::max(), RealClock().Now(),
                                             router.Enter().value(), client);
          ASSERT_OK(relay);
          switch (random() % 4) {
            case 0:
              (*relay)->Cancel(absl::CancelledError("left"));
              break;
            case 1:
              membership.snapshot()->groups.begin()->second.group->LoseStreams(
                  absl::UnavailableError("lost"));
              break;
            default:
              break;
          }
          ASSERT_TRUE(client->WaitAndCheck(1 + i % 3));
          num_migrations += client->num_migrations();
        }
      });
    }
    for (std::thread& client : clients) client.join();
    EXPECT_TRUE(router.WaitUntilIdle(std::chrono::seconds(60)));
    EXPECT_EQ(membership.num_waiting(), 0u);
    const auto cluster = membership.snapshot();
    for (const auto& [id, entry] : cluster->groups) {
      EXPECT_EQ(entry.group->outstanding()->load(), 0) << entry.group->address();
    }
  }
  EXPECT_EQ(num_ended, kNumClients * kRequestsPerClient);
  EXPECT_GT(GetParam().size() > 1 ? num_migrations : num_resumed, 0);
}

}  // namespace
}  // namespace skv::router
