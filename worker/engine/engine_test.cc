#include "worker/engine/engine.h"

#include <functional>
#include <future>
#include <random>

#include "common/testing/fake_clock.h"
#include "common/testing/status_matchers.h"
#include "worker/comm/self_communicator.h"
#include "worker/engine/testing/local_engine.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

using testing::HasSubstr;

constexpr int64_t kTokenBytes = 2 * 2 * 2 * 32 * 2;  // K and V, layers, KV heads, head_dim, bf16

// Calls `hook` with its request's id on the engine's thread, between two steps, when the third
// token of sample 0 has come.
class HookedSink : public CollectingSink {
 public:
  HookedSink(int num_samples, std::function<void(RequestId)> hook)
      : CollectingSink(num_samples), hook_(std::move(hook)) {}

  void Submit(Engine* engine, GenerationRequest request, std::shared_ptr<HookedSink> self) {
    const absl::StatusOr<RequestId> id = engine->Submit(std::move(request), std::move(self));
    ASSERT_OK(id);
    id_.set_value(*id);
  }
  bool OnToken(const TokenEvent& event) override {
    CollectingSink::OnToken(event);
    if (event.sample_idx != 0 || tokens().size() != 3) return true;
    hook_(id_.get_future().get());
    return true;
  }

 private:
  const std::function<void(RequestId)> hook_;
  std::promise<RequestId> id_;
};

class EngineTest : public testing::Test {
 protected:
  EngineTest() : model_({.head_dim = 32, .context_length = 1024}) {}

  std::unique_ptr<LocalEngine> Open(int chunk = 64, int threads = 1, int64_t kv_tokens = 20000,
                                    const Clock* clock = &RealClock()) {
    auto local = LocalEngine::Open({.rank = {.model_path = model_.path(),
                                             .num_threads = threads,
                                             .kv_cache_memory_bytes = kv_tokens * kTokenBytes,
                                             .max_num_batched_tokens = chunk},
                                    .clock = clock});
    EXPECT_OK(local);
    return std::move(local).value();
  }

  static GenerationRequest MakeRequest(int seed, int prompt_length, int max_tokens) {
    std::mt19937 random(seed);
    GenerationRequest request;
    for (int i = 0; i < prompt_length; ++i) request.prompt_ids.push_back(random() % 256);
    request.params.temperature = 0;
    request.params.ignore_eos = true;
    request.seeds = {static_cast<uint64_t>(seed)};
    request.max_tokens = max_tokens;
    return request;
  }

  static std::shared_ptr<CollectingSink> Submit(LocalEngine* local, GenerationRequest request) {
    auto sink = std::make_shared<CollectingSink>(static_cast<int>(request.seeds.size()));
    EXPECT_OK(local->engine().Submit(std::move(request), sink));
    return sink;
  }

  static std::shared_ptr<HookedSink> SubmitHooked(LocalEngine* local, GenerationRequest request,
                                                  std::function<void(RequestId)> hook) {
    auto sink =
        std::make_shared<HookedSink>(static_cast<int>(request.seeds.size()), std::move(hook));
    sink->Submit(&local->engine(), std::move(request), sink);
    return sink;
  }

  // The tokens and logit bits of a request that has the engine to itself.
  struct Solo {
    std::vector<TokenId> tokens;
    std::map<int, uint64_t> hashes;
  };
  Solo RunAlone(const GenerationRequest& request, int chunk = 64, int threads = 1) {
    const auto local = Open(chunk, threads);
    const auto sink = Submit(local.get(), request);
    EXPECT_TRUE(sink->WaitForFinish());
    return {sink->tokens(), local->recorder().logit_hashes(1)};
  }

  loader::TinyLlamaFile model_;
};

TEST_F(EngineTest, ARequestGetsItsTokensAndAnHonestFinish) {
  const auto local = Open();
  const auto sink = Submit(local.get(), MakeRequest(1, 100, 12));
  ASSERT_TRUE(sink->WaitForFinish());
  const FinishEvent finish = sink->finish();
  EXPECT_EQ(finish.reason, FinishReason::kLength);
  EXPECT_EQ(finish.num_prompt_tokens, 100);
  EXPECT_EQ(finish.num_generated_tokens, 12);
  EXPECT_EQ(sink->tokens().size(), 12u);
  EXPECT_GT(finish.timings.time_to_first_token_seconds, 0);
}

TEST_F(EngineTest, BitsDoNotDependOnChunksThreadsOrNeighbours) {
  const GenerationRequest request = MakeRequest(7, 150, 20);
  const Solo want = RunAlone(request, /*chunk=*/256);
  ASSERT_EQ(want.hashes.size(), 20u);
  EXPECT_EQ(RunAlone(request, /*chunk=*/64, /*threads=*/2).hashes, want.hashes);

  const auto local = Open(/*chunk=*/64);
  // Holds the engine back until all are there, however slowly this thread submits them.
  std::promise<void> all_submitted;
  SubmitHooked(local.get(), MakeRequest(8, 5, 3),
               [&](RequestId) { all_submitted.get_future().wait(); });
  std::vector<std::shared_ptr<CollectingSink>> others;
  for (int i = 0; i < 8; ++i)
    others.push_back(Submit(local.get(), MakeRequest(20 + i, 30 * i + 5, 40)));
  const auto sink = Submit(local.get(), request);
  all_submitted.set_value();
  ASSERT_TRUE(sink->WaitForFinish());
  for (const auto& other : others) ASSERT_TRUE(other->WaitForFinish());
  EXPECT_EQ(local->recorder().logit_hashes(10), want.hashes);
  EXPECT_EQ(sink->tokens(), want.tokens);
  const auto steps = local->recorder().steps();
  EXPECT_TRUE(std::any_of(steps.begin(), steps.end(), [](const StepRecord& step) {
    return step.num_decodes > 0 && step.num_prefills > 0;
  })) << "no mixed step";
  EXPECT_TRUE(std::any_of(steps.begin(), steps.end(), [](const StepRecord& step) {
    return step.num_decodes >= 8;
  })) << "no batch of 8";
}

TEST_F(EngineTest, ResumedTokensContinueAsIfNothingHadHappened) {
  GenerationRequest request = MakeRequest(3, 90, 24);
  const Solo want = RunAlone(request);
  request.resume_ids.assign(want.tokens.begin(), want.tokens.begin() + 10);
  const Solo resumed = RunAlone(request);
  EXPECT_EQ(resumed.tokens, std::vector<TokenId>(want.tokens.begin() + 10, want.tokens.end()));
  for (const auto& [position, hash] : resumed.hashes) EXPECT_EQ(hash, want.hashes.at(position));
}

TEST_F(EngineTest, AnEvictedSequenceIsRebuiltWithEqualBits) {
  const GenerationRequest request = MakeRequest(4, 130, 600);
  const Solo want = RunAlone(request);
  const auto local = Open();
  const auto sink =
      SubmitHooked(local.get(), request, [&](RequestId id) { local->engine().Preempt(id); });
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_EQ(sink->tokens(), want.tokens);
  EXPECT_EQ(local->recorder().logit_hashes(1), want.hashes);
  EXPECT_EQ(local->engine().stats().scheduler.num_preemptions, 1);
}

TEST_F(EngineTest, SamplesShareTheirPromptAndEqualSoloRuns) {
  GenerationRequest request = MakeRequest(5, 140, 10);
  request.params.temperature = 1.0f;
  request.params.repetition_penalty = 1.3f;
  request.seeds = {11, 12, 13};
  const auto local = Open();
  const auto sink = Submit(local.get(), request);
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_EQ(local->engine().stats().num_prompt_tokens, 140);
  for (int i = 0; i < 3; ++i) {
    GenerationRequest solo = request;
    solo.seeds = {request.seeds[i]};
    EXPECT_EQ(sink->tokens(i), RunAlone(solo).tokens) << "sample " << i;
  }
  EXPECT_NE(sink->tokens(0), sink->tokens(1));
}

TEST_F(EngineTest, SamplesAreEvictedTogetherThoughTheirFirstHasEnded) {
  GenerationRequest request = MakeRequest(5, 140, 10);
  request.params.temperature = 1.0f;
  request.seeds = {11, 12, 13};
  const auto local = Open();
  const auto sink = SubmitHooked(local.get(), request, [&](RequestId id) {
    local->engine().CancelSample(id, 0);
    local->engine().Preempt(id);
  });
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_EQ(local->engine().stats().scheduler.num_preemptions, 1);
  EXPECT_EQ(local->recorder().differences(), 0);
  EXPECT_EQ(sink->finish(0).reason, FinishReason::kCancelled);
  for (const int i : {1, 2}) {
    GenerationRequest solo = request;
    solo.seeds = {request.seeds[i]};
    EXPECT_EQ(sink->tokens(i), RunAlone(solo).tokens) << "sample " << i;
  }
}

class RefusingSink : public CollectingSink {
 public:
  bool OnToken(const TokenEvent&) override { return false; }
};

TEST_F(EngineTest, WhoRefusesTheFirstTokenLeftWhileThePromptWasComputed) {
  const auto local = Open();
  const auto sink = std::make_shared<RefusingSink>();
  ASSERT_OK(local->engine().Submit(MakeRequest(1, 100, 50), sink));
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_EQ(sink->finish().reason, FinishReason::kCancelled);
  CancelStats cancels;
  do {  // the end of the step publishes it
    cancels = local->engine().stats().cancels;
  } while (cancels.by_phase == CancelStats().by_phase);
  EXPECT_EQ(cancels.by_phase[static_cast<int>(CancelPhase::kPromptEnd)], 1);
}

TEST_F(EngineTest, ACancelledRequestGivesEverythingBackWithinAStep) {
  const auto local = Open();
  const auto sink = SubmitHooked(local.get(), MakeRequest(6, 50, 900),
                                 [&](RequestId id) { local->engine().Cancel(id); });
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_EQ(sink->finish().reason, FinishReason::kCancelled);
  EXPECT_LE(sink->tokens().size(), 4u);
  const auto next = Submit(local.get(), MakeRequest(7, 10, 1));
  ASSERT_TRUE(next->WaitForFinish());
  const auto flush =
      Submit(local.get(), MakeRequest(8, 10, 1));  // its step released the one before
  ASSERT_TRUE(flush->WaitForFinish());
  EXPECT_LE(local->rank().pool().num_blocks(), 1);
  EXPECT_LE(local->rank().pool().num_slot_pages(), 1);
}

TEST_F(EngineTest, ADeadlineEndsARequestWithinAStep) {
  FakeClock clock;
  const auto local = Open(/*chunk=*/64, /*threads=*/1, /*kv_tokens=*/20000, &clock);
  GenerationRequest request = MakeRequest(9, 50, 900);
  request.deadline = clock.Now() + std::chrono::seconds(5);
  const auto sink = SubmitHooked(local.get(), request,
                                 [&](RequestId) { clock.Advance(std::chrono::seconds(6)); });
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_EQ(sink->finish().reason, FinishReason::kDeadline);
  EXPECT_LE(sink->tokens().size(), 4u);
}

TEST_F(EngineTest, WrongRequestsAreRefusedByField) {
  const auto local = Open();
  const struct {
    const char* why;
    void (*damage)(GenerationRequest*);
    const char* message;
  } kCases[] = {
      {"no prompt", [](GenerationRequest* r) { r->prompt_ids.clear(); }, "prompt_ids: empty"},
      {"unknown id", [](GenerationRequest* r) { r->prompt_ids[3] = 1 << 20; }, "prompt_ids[3]"},
      {"negative id", [](GenerationRequest* r) { r->resume_ids = {-1}; }, "resume_ids[0]"},
      {"too long", [](GenerationRequest* r) { r->max_tokens = 5000; }, "--max-model-len"},
      {"nothing to do", [](GenerationRequest* r) { r->max_tokens = 0; }, "max_tokens"},
      {"no sample", [](GenerationRequest* r) { r->seeds.clear(); }, "n: 0"},
      {"n = 16384", [](GenerationRequest* r) { r->seeds.resize(16384); }, "n: 16384"},
      {"NaN", [](GenerationRequest* r) { r->params.temperature = NAN; }, "temperature"},
      {"long salt", [](GenerationRequest* r) { r->cache_salt.resize(129); }, "cache_salt: 129"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    GenerationRequest request = MakeRequest(1, 10, 4);
    c.damage(&request);
    EXPECT_THAT(local->engine().Submit(request, std::make_shared<CollectingSink>()),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
}

TEST_F(EngineTest, ARequestLargerThanThePoolIsRefusedWithTheFlagToChange) {
  const auto local = Open(64, 1, /*kv_tokens=*/256);
  const auto sink = Submit(local.get(), MakeRequest(1, 300, 100));
  ASSERT_TRUE(sink->WaitForFinish());
  EXPECT_EQ(sink->finish().reason, FinishReason::kError);
  EXPECT_THAT(std::string(sink->finish().status.message()), HasSubstr("--kv-cache-memory-bytes"));
}

TEST_F(EngineTest, APoolFilledByShortRequestsServesThemAll) {
  const auto local = Open(/*chunk=*/64, /*threads=*/1, /*kv_tokens=*/1024);
  std::vector<std::shared_ptr<CollectingSink>> others;
  const auto first = SubmitHooked(local.get(), MakeRequest(1, 8, 56), [&](RequestId) {
    // Together: 30 requests of 8 + 56 tokens want 30 x (16 + 64).
    for (int i = 2; i <= 30; ++i) others.push_back(Submit(local.get(), MakeRequest(i, 8, 56)));
  });
  ASSERT_TRUE(first->WaitForFinish());
  for (const auto& sink : others) {
    ASSERT_TRUE(sink->WaitForFinish());
    EXPECT_EQ(sink->finish().reason, FinishReason::kLength) << sink->finish().status.ToString();
  }
  const auto steps = local->recorder().steps();
  EXPECT_TRUE(std::any_of(steps.begin(), steps.end(), [](const StepRecord& step) {
    return step.num_decodes >= 10;
  })) << "the pool was never full";
}

TEST_F(EngineTest, AContextTooLongForTheRopeTableAsksForAShorterOne) {
  const loader::TinyLlamaFile model({.head_dim = 32, .context_length = 1 << 24});
  LocalEngineOptions options{.rank = {.model_path = model.path(), .num_threads = 1}};
  EXPECT_THAT(LocalEngine::Open(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--max-model-len: 0")));
  options.rank.max_model_len = (1 << 23) + 1;
  EXPECT_THAT(LocalEngine::Open(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("room for 8388608")));
  options.rank.max_model_len = 100;
  EXPECT_OK(LocalEngine::Open(options));
}

// Counts how often it is read.
class CountingClock : public Clock {
 public:
  TimePoint Now() const override {
    ++num_reads;
    return TimePoint(std::chrono::seconds(num_reads));
  }
  mutable int num_reads = 0;
};

TEST_F(EngineTest, AStepBeatsAfterEachLayerSoThatALongOneShowsLife) {
  ASSERT_OK_AND_ASSIGN(const ModelDescription description, DescribeModel(model_.path()));
  const auto communicator = comm::CreateSelfCommunicator();
  const CountingClock clock;
  ASSERT_OK_AND_ASSIGN(const auto rank, Rank::Open({.model_path = model_.path()}, description,
                                                   communicator.get(), clock));
  const int before = clock.num_reads;
  std::vector<float> logits;
  ASSERT_OK(rank->executor()->Execute(
      {.admitted = {{.id = 1, .num_prompt_tokens = 3, .max_tokens_total = 4}},
       .chunks = {{.id = 1, .first_position = 0, .num_tokens = 3}},
       .tokens = {1, 2, 3}},
      &logits));
  EXPECT_EQ(clock.num_reads - before, description.config.num_layers + 1);
}

// Each step takes a second.
class SecondPerStep : public StepObserver {
 public:
  explicit SecondPerStep(FakeClock* clock) : clock_(clock) {}
  void OnStep(const scheduler::PlannedStep&, const std::vector<float>&) override {
    clock_->Advance(std::chrono::seconds(1));
  }

 private:
  FakeClock* const clock_;
};

// Ends the engine with its request's last sample.
class LastSink : public CollectingSink {
 public:
  LastSink(int num_samples, Engine* engine)
      : CollectingSink(num_samples), num_left_(num_samples), engine_(engine) {}
  void OnFinish(const FinishEvent& event) override {
    CollectingSink::OnFinish(event);
    if (--num_left_ == 0) engine_->Shutdown();
  }

 private:
  int num_left_;
  Engine* const engine_;
};

TEST_F(EngineTest, EverySampleWaitsInTheQueueAndForThePromptAlike) {
  ASSERT_OK_AND_ASSIGN(const ModelDescription description, DescribeModel(model_.path()));
  const auto communicator = comm::CreateSelfCommunicator();
  FakeClock clock;
  ASSERT_OK_AND_ASSIGN(const auto rank, Rank::Open({.model_path = model_.path()}, description,
                                                   communicator.get(), clock));
  SecondPerStep observer(&clock);
  Engine engine(rank->MakeEngineOptions(description, /*max_num_seqs=*/8,
                                        /*max_num_batched_tokens=*/64, /*max_queue=*/8),
                rank->executor(), communicator.get(), clock, &observer);
  GenerationRequest request = MakeRequest(1, 150, 3);
  request.seeds = {1, 2, 3};
  const auto sink = std::make_shared<LastSink>(3, &engine);
  ASSERT_OK(engine.Submit(request, sink));
  clock.Advance(std::chrono::seconds(5));
  ASSERT_OK(engine.Run());
  for (int i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    const Timings timings = sink->finish(i).timings;
    EXPECT_DOUBLE_EQ(timings.queue_seconds, 5);
    EXPECT_DOUBLE_EQ(timings.prefill_seconds, 3);  // 150 tokens, 64 a step
    EXPECT_DOUBLE_EQ(timings.decode_seconds, 2);
  }
}

TEST_F(EngineTest, ShutdownEndsRunningAndQueuedRequestsAsUnavailable) {
  const auto local = Open();
  std::shared_ptr<CollectingSink> queued;
  const auto running = SubmitHooked(local.get(), MakeRequest(2, 50, 900), [&](RequestId) {
    queued = Submit(local.get(), MakeRequest(3, 50, 900));
    local->engine().Shutdown();
  });
  ASSERT_TRUE(running->WaitForFinish());
  ASSERT_TRUE(queued->WaitForFinish());
  for (const FinishEvent& finish : {running->finish(), queued->finish()}) {
    EXPECT_EQ(finish.reason, FinishReason::kError);
    EXPECT_THAT(finish.status, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shut down")));
  }
}

}  // namespace
}  // namespace skv::engine
