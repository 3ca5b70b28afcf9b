// Engines over the real skv-kvstore: what one has read the others do not compute, and whatever
// becomes of the store or of the engine that writes, no request fails and no bit changes.

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/http_get.h"
#include "common/process.h"
#include "common/testing/eventually.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/sanitizer_report.h"
#include "worker/engine/prefix_waits.h"
#include "worker/engine/testing/policy_run.h"
#include "worker/engine/testing/rank_group.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

constexpr int kPrompt = 2000, kTokens = 24, kBudget = 64;
constexpr int kLongStream = 1500;
constexpr int kSlowly = 8;  // tokens of a step: a prefill lasts until a test does something
// Of a sentence that is not finished, and of what the policy looks at.
constexpr int kComputedAnyway = kBudget / 2 + 128;
// What is promised of a stream that runs while the store stands still.
constexpr double kMaxStallSeconds = 5 * SKV_SLOWDOWN;

// Also measures the longest time between two tokens.
class TimedSink : public CollectingSink {
 public:
  bool OnToken(const TokenEvent& event) override {
    const TimePoint now = RealClock().Now();
    if (last_ != TimePoint()) longest_ = std::max(longest_, now - last_);
    last_ = now;
    return CollectingSink::OnToken(event);
  }
  // Once it has finished.
  double longest_pause() const { return ToSeconds(longest_); }

 private:
  TimePoint last_;
  Duration longest_{};
};

class EngineStoreTest : public testing::Test {
 protected:
  EngineStoreTest()
      : model_({.num_layers = 3, .head_dim = 32, .ffn = 256, .context_length = 4096}) {
    char name[] = "/tmp/skv_engine_store_XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    StartStore();
  }
  ~EngineStoreTest() override {
    store_->Signal(SIGCONT);
    store_->Terminate();
    EXPECT_TRUE(store_->Wait(kPatience).has_value());
    e2e::ExpectNoSanitizerReport("skv-kvstore", e2e::ReadFile(folder_ + "/log"));
    std::filesystem::remove_all(folder_);
  }

  void StartStore(int64_t arena_bytes = 1 << 25) {
    store_.reset();
    std::filesystem::remove(folder_ + "/log");
    const char* const bin = std::getenv("SKV_BIN");
    ChildOptions options{
        .args = {absl::StrCat(bin != nullptr ? bin : SKV_BIN_DIR, "/skv-kvstore"), "--socket",
                 SocketPath(), "--arena-bytes", absl::StrCat(arena_bytes)},
        .log_path = folder_ + "/log"};
    options.args.insert(options.args.end(), store_flags_.begin(), store_flags_.end());
    store_ = ScopedChild::Start(options).value();
    EXPECT_TRUE(Eventually(
        [&] { return e2e::ReadFile(folder_ + "/log").find("/metrics\n") != std::string::npos; }));
  }
  std::string SocketPath() const { return folder_ + "/s"; }
  // 0: there is none yet.
  double StoreMetric(const std::string& series) const {
    const std::string output = e2e::ReadFile(folder_ + "/log"), before = "metrics on http://";
    const size_t colon = output.find(':', output.find(before) + before.size());
    const std::string page =
        HttpGet("127.0.0.1", std::atoi(output.c_str() + colon + 1), "/metrics", kPatience)
            .value_or("");
    const size_t at = page.find("skv_kvstore_" + series);
    return at == std::string::npos ? 0 : std::atof(page.c_str() + page.find("} ", at) + 2);
  }
  // All that can be found is in the folder, too.
  bool IsWrittenBehind() const {
    const double num_sealed = StoreMetric("entries{role=\"kvstore\",state=\"sealed\"}");
    return num_sealed > 0 && num_sealed == StoreMetric(
                                               "tier_written_entries_total"
                                               "{role=\"kvstore\",tier=\"nvme\"}");
  }

  std::unique_ptr<LocalEngine> Open(int chunk = 256, bool caching = true) const {
    auto local = LocalEngine::Open({.rank = {.model_path = model_.path(),
                                             .num_threads = 1,
                                             .kv_cache_memory_bytes = int64_t{1} << 25,
                                             .max_num_batched_tokens = chunk,
                                             .enable_prefix_caching = caching,
                                             .kvstore_socket = caching ? SocketPath() : ""},
                                    .max_num_seqs = kSlowly});
    EXPECT_OK(local);
    return std::move(local).value();
  }

  static GenerationRequest MakeRequest(uint32_t seed, int max_tokens = kTokens) {
    return RandomRequest({.prompt_seed = seed,
                          .num_prompt_tokens = kPrompt,
                          .max_tokens = max_tokens,
                          .policy = {.name = "sentencekv", .budget_tokens = kBudget}});
  }

  struct Run {
    std::vector<TokenId> tokens;
    std::map<int, uint64_t> hashes;
    int num_cached_tokens = 0;
  };
  // The `number`-th request of the engine, from 1 on, all of one sample.
  static Run Finish(const LocalEngine& local, int number, CollectingSink* sink) {
    EXPECT_TRUE(sink->WaitForFinish());
    EXPECT_OK(sink->finish().status);
    return {sink->tokens(), local.recorder().logit_hashes(number),
            sink->finish().num_cached_tokens};
  }
  static Run RunNext(LocalEngine* local, int number, const GenerationRequest& request) {
    return Finish(*local, number, Submit(local, request).get());
  }
  Run RunCold(const GenerationRequest& request) const {
    return RunNext(Open(/*chunk=*/256, /*caching=*/false).get(), 1, request);
  }
  static void ExpectSame(const Run& got, const Run& want) {
    EXPECT_EQ(got.tokens, want.tokens);
    EXPECT_EQ(got.hashes, want.hashes);
  }
  static bool IsShared(LocalEngine* local) { return local->engine().stats().prefix.is_shared; }

  loader::TinyLlamaFile model_;
  std::string folder_;
  std::vector<std::string> store_flags_;
  std::unique_ptr<ScopedChild> store_;
};

TEST_F(EngineStoreTest, WhatOneEngineReadAnotherDoesNotCompute) {
  const Run cold = RunCold(MakeRequest(1));
  const auto first = Open(), second = Open();
  ExpectSame(RunNext(first.get(), 1, MakeRequest(1)), cold);
  const Run warm = RunNext(second.get(), 1, MakeRequest(1));
  EXPECT_GE(warm.num_cached_tokens, kPrompt - kComputedAnyway);
  EXPECT_EQ(second->engine().stats().num_prompt_tokens, kPrompt - warm.num_cached_tokens);
  ExpectSame(warm, cold);
}

TEST_F(EngineStoreTest, BlocksOutliveTheEngineThatWroteThem) {
  RunNext(Open().get(), 1, MakeRequest(1));
  EXPECT_GE(RunNext(Open().get(), 1, MakeRequest(1)).num_cached_tokens, kPrompt - kComputedAnyway);
}

TEST_F(EngineStoreTest, OfTwoEnginesThatAreAskedAtOnceOneWaitsForTheOther) {
  const auto first = Open(kSlowly), second = Open(kSlowly);
  // Again if the first was faster than this thread.
  for (int number = 1; number <= 20 && second->engine().stats().prefix.waits == 0; ++number) {
    const GenerationRequest request = MakeRequest(number);
    const auto written = Submit(first.get(), request);
    ASSERT_TRUE(Eventually(
        [&] { return first->engine().stats().num_prompt_tokens > (number - 1) * kPrompt; }));
    const auto waited = Submit(second.get(), request);
    const Run cold = RunCold(request);
    ExpectSame(Finish(*first, number, written.get()), cold);
    ExpectSame(Finish(*second, number, waited.get()), cold);
    EXPECT_LE(second->engine().stats().num_prompt_tokens, number * kComputedAnyway);
  }
  EXPECT_EQ(second->engine().stats().prefix.waits, 1);
}

TEST_F(EngineStoreTest, WhoWaitsGoesOnWhenTheEngineThatWritesIsGone) {
  const Run cold = RunCold(MakeRequest(1));
  auto writer = Open(kSlowly);
  const auto reader = Open(kSlowly);
  const auto lost = Submit(writer.get(), MakeRequest(1));
  ASSERT_TRUE(Eventually([&] { return writer->engine().stats().num_prompt_tokens > 256; }));
  const auto sink = Submit(reader.get(), MakeRequest(1));
  ASSERT_TRUE(Eventually([&] { return reader->engine().stats().prefix.num_held == 1; }));
  writer.reset();
  EXPECT_FALSE(lost->finish().status.ok());
  const Run run = Finish(*reader, 1, sink.get());
  ExpectSame(run, cold);
  EXPECT_GT(run.num_cached_tokens, 0) << "what it had sealed";
}

// One request decodes, one prefills, one waits for that one.
TEST_F(EngineStoreTest, WhenTheStoreIsKilledAllGoesOnAndItsSuccessorIsUsed) {
  const Run cold[] = {RunCold(MakeRequest(1, kLongStream)), RunCold(MakeRequest(2))};
  const auto engine = Open(kSlowly), other = Open();
  const auto stream = Submit(engine.get(), MakeRequest(1, kLongStream));
  ASSERT_TRUE(stream->WaitForTokens(5));
  const auto prefill = Submit(engine.get(), MakeRequest(2));
  const auto waiting = Submit(engine.get(), MakeRequest(2));
  ASSERT_TRUE(Eventually([&] { return engine->engine().stats().prefix.num_held == 1; }));
  store_->Signal(SIGKILL);
  ExpectSame(Finish(*engine, 2, prefill.get()), cold[1]);
  ExpectSame(Finish(*engine, 3, waiting.get()), cold[1]);
  ExpectSame(Finish(*engine, 1, stream.get()), cold[0]);
  EXPECT_FALSE(IsShared(engine.get()));

  EXPECT_EQ(RunNext(engine.get(), 4, MakeRequest(3)).num_cached_tokens, 0);
  EXPECT_GT(RunNext(engine.get(), 5, MakeRequest(3)).num_cached_tokens, 0) << "of its own memory";

  StartStore();
  ASSERT_TRUE(Eventually([&] { return IsShared(engine.get()) && IsShared(other.get()); }));
  ExpectSame(RunNext(engine.get(), 6, MakeRequest(2)), cold[1]);
  const Run warm = RunNext(other.get(), 1, MakeRequest(2));
  EXPECT_GT(warm.num_cached_tokens, 0);
  ExpectSame(warm, cold[1]);
}

TEST_F(EngineStoreTest, WhenTheStoreStandsStillStreamsPauseForSecondsAtMost) {
  const Run cold[] = {RunCold(MakeRequest(1, kLongStream)), RunCold(MakeRequest(2))};
  const auto engine = Open();
  const auto stream = std::make_shared<TimedSink>();
  ASSERT_OK(engine->engine().Submit(MakeRequest(1, kLongStream), stream));
  ASSERT_TRUE(stream->WaitForTokens(5));
  store_->Signal(SIGSTOP);
  EXPECT_LT(stream->tokens().size(), kLongStream / 2);
  for (int number = 2; number <= 3; ++number) {
    ExpectSame(RunNext(engine.get(), number, MakeRequest(2)), cold[1]);
  }
  ExpectSame(Finish(*engine, 1, stream.get()), cold[0]);
  EXPECT_LE(stream->longest_pause(), kMaxStallSeconds);
  RecordProperty("longest_pause_ms", static_cast<int>(1000 * stream->longest_pause()));
  EXPECT_FALSE(IsShared(engine.get()));

  store_->Signal(SIGCONT);
  ASSERT_TRUE(Eventually([&] { return IsShared(engine.get()); }));
  RunNext(engine.get(), 4, MakeRequest(3));
  EXPECT_GT(RunNext(Open().get(), 1, MakeRequest(3)).num_cached_tokens, 0);
}

// A store that keeps its blocks in a folder, too.
#if SKV_WITH_ROCKSDB
TEST_F(EngineStoreTest, WhatWasReadBeforeAStoreWasKilledIsFoundInItsFolder) {
  const Run cold = RunCold(MakeRequest(1));
  store_flags_ = {"--nvme-folder", folder_ + "/nvme", "--nvme-bytes", absl::StrCat(64 << 20)};
  StartStore();
  ExpectSame(RunNext(Open().get(), 1, MakeRequest(1)), cold);
  ASSERT_TRUE(Eventually([&] { return IsWrittenBehind(); }));
  store_->Signal(SIGKILL);
  StartStore();
  const auto reader = Open();
  const Run warm = RunNext(reader.get(), 1, MakeRequest(1));
  EXPECT_GE(warm.num_cached_tokens, kPrompt - kComputedAnyway);
  ExpectSame(warm, cold);
  // What nobody has read is computed, and nobody waits for it for long.
  const Run other = RunNext(reader.get(), 2, MakeRequest(2));
  EXPECT_EQ(other.num_cached_tokens, 0);
}
#endif

// Groups of two ranks on the store: two sessions each, and each rank has blocks of its own.
class GroupStoreTest : public EngineStoreTest {
 protected:
  std::unique_ptr<RankGroup> MakeGroup() const {
    auto group = std::make_unique<RankGroup>(model_.path(), 2);
    for (const int rank : {0, 1}) {
      RankOptions& options = group->options(rank);
      options.kv_cache_memory_bytes = int64_t{1} << 25;
      options.max_num_batched_tokens = 32;
      options.enable_prefix_caching = true;
      options.kvstore_socket = SocketPath();
    }
    return group;
  }

  // Four requests for one prompt, all within the patience of one that waits; returns the cached
  // tokens of each.
  static std::vector<int> RunAtOnce(RankGroup* group, const Run& cold) {
    std::vector<int> cached;
    group->Run([&](Engine* engine, const StepRecorder& recorder) {
      const TimePoint start = RealClock().Now();
      std::vector<std::shared_ptr<CollectingSink>> sinks;
      for (int i = 0; i < 4; ++i) {
        sinks.push_back(std::make_shared<CollectingSink>());
        EXPECT_OK(engine->Submit(MakeRequest(1), sinks.back()));
      }
      for (size_t i = 0; i < sinks.size(); ++i) {
        EXPECT_TRUE(sinks[i]->WaitForFinish());
        ExpectBits({sinks[i]->tokens(), recorder.logit_hashes(1 + i), {}, {}}, cold);
        cached.push_back(sinks[i]->finish().num_cached_tokens);
      }
      EXPECT_LT(RealClock().Now() - start, SKV_SLOWDOWN * kPrefixPatience * kPrefixLookInterval);
    });
    return cached;
  }

  static void ExpectBits(const RankGroup::Result& got, const Run& want) {
    EXPECT_EQ(got.tokens, want.tokens);
    EXPECT_EQ(got.logit_hashes, want.hashes);
  }
};

TEST_F(GroupStoreTest, WhatOneGroupReadAnotherDoesNotCompute) {
  const Run cold = RunCold(MakeRequest(1));
  for (const bool is_warm : {false, true}) {
    MakeGroup()->Run([&](Engine* engine, const StepRecorder& recorder) {
      const RankGroup::Result result = engine::RunNext(engine, recorder, 1, MakeRequest(1));
      EXPECT_EQ(result.num_cached_tokens > kPrompt - kComputedAnyway, is_warm);
      ExpectBits(result, cold);
    });
  }
}

TEST_F(GroupStoreTest, OfTwoGroupsThatAreAskedAtOnceOneWaitsForTheOther) {
  const auto first = MakeGroup(), second = MakeGroup();
  first->Run([&](Engine* engine, const StepRecorder&) {
    second->Run([&](Engine* other, const StepRecorder&) {
      for (int round = 1; round <= 10; ++round) {
        const auto sink = std::make_shared<CollectingSink>();
        const auto other_sink = std::make_shared<CollectingSink>();
        ASSERT_OK(engine->Submit(MakeRequest(round), sink));
        ASSERT_OK(other->Submit(MakeRequest(round), other_sink));
        ASSERT_TRUE(sink->WaitForFinish());
        ASSERT_TRUE(other_sink->WaitForFinish());
        EXPECT_EQ(other_sink->tokens(), sink->tokens());
        const auto computed = engine->stats().num_prompt_tokens + other->stats().num_prompt_tokens;
        EXPECT_LE(computed, round * (kPrompt + kComputedAnyway));
      }
    });
  });
}

#if SKV_WITH_ROCKSDB
TEST_F(GroupStoreTest, WhatAGroupReadBeforeAStoreWasKilledAnotherFindsInItsFolder) {
  const Run cold = RunCold(MakeRequest(1));
  store_flags_ = {"--nvme-folder", folder_ + "/nvme", "--nvme-bytes", absl::StrCat(64 << 20)};
  StartStore();
  for (const bool is_warm : {false, true}) {
    MakeGroup()->Run([&](Engine* engine, const StepRecorder& recorder) {
      const RankGroup::Result result = engine::RunNext(engine, recorder, 1, MakeRequest(1));
      EXPECT_EQ(result.num_cached_tokens > kPrompt - kComputedAnyway, is_warm);
      ExpectBits(result, cold);
    });
    if (is_warm) break;
    ASSERT_TRUE(Eventually([&] { return IsWrittenBehind(); }));
    store_->Signal(SIGKILL);
    StartStore();
  }
}
#endif

// Of what not all ranks can keep nobody waits for the blocks of some.
TEST_F(GroupStoreTest, WhereTheStoreIsTooSmallForAPromptNobodyWaitsInVain) {
  const Run cold = RunCold(MakeRequest(1));
  StartStore(/*arena_bytes=*/1 << 20);
  const std::vector<int> cached = RunAtOnce(MakeGroup().get(), cold);
  EXPECT_GT(cached.back(), 0);
  EXPECT_LT(cached.back(), kPrompt - kComputedAnyway);
}

TEST_F(GroupStoreTest, WhereOnlyOneRankReachesTheStoreNobodyWaitsInVain) {
  const Run cold = RunCold(MakeRequest(1));
  for (const int rank : {0, 1}) {
    const auto group = MakeGroup();
    group->options(rank).kvstore_socket = folder_ + "/none";
    EXPECT_EQ(RunAtOnce(group.get(), cold).back(), 0);
  }
}

TEST_F(GroupStoreTest, WhenTheStoreIsKilledRanksAgreeAndItsSuccessorIsUsed) {
  const Run cold[] = {RunCold(MakeRequest(0)), RunCold(MakeRequest(1))};
  MakeGroup()->Run([&](Engine* engine, const StepRecorder& recorder) {
    for (int number = 1; number <= 8; number += 2) {
      SCOPED_TRACE(number);
      const auto prefill = std::make_shared<CollectingSink>();
      const auto waiting = std::make_shared<CollectingSink>();
      const int prompt = number / 2 % 2;
      const int64_t computed = engine->stats().num_prompt_tokens;
      ASSERT_OK(engine->Submit(MakeRequest(prompt), prefill));
      ASSERT_OK(engine->Submit(MakeRequest(prompt), waiting));
      ASSERT_TRUE(Eventually([&] { return engine->stats().num_prompt_tokens > computed; }));
      store_->Signal(SIGKILL);
      for (const auto& [sink, id] : {std::pair(prefill, number), std::pair(waiting, number + 1)}) {
        ASSERT_TRUE(sink->WaitForFinish());
        EXPECT_OK(sink->finish().status);
        EXPECT_EQ(sink->tokens(), cold[prompt].tokens);
        EXPECT_EQ(recorder.logit_hashes(id), cold[prompt].hashes);
      }
      StartStore();
      ASSERT_TRUE(Eventually([&] { return engine->stats().prefix.is_shared; }));
    }
    ASSERT_TRUE(Eventually([&] {
      return engine::RunNext(engine, recorder, 9, MakeRequest(2)).num_cached_tokens > 0;
    })) << "once the other rank has connected, too";
  });
}

}  // namespace
}  // namespace skv::engine
