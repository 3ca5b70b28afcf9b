// Streams over a real engine whose call gRPC never takes up: to the stream, a client that does not
// read.

#include "worker/server/generate_stream.h"

#include <latch>
#include <map>

#include "common/testing/status_matchers.h"
#include "worker/engine/testing/local_engine.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::server {
namespace {

using engine::FinishReason;

// Calls `hook` before the first token, on the engine's thread, between two steps.
class HookedStream : public GenerateStream {
 public:
  using GenerateStream::GenerateStream;
  bool OnToken(const engine::TokenEvent& event) override {
    if (hook) std::exchange(hook, nullptr)();
    return GenerateStream::OnToken(event);
  }
  std::function<void()> hook;
};

class GenerateStreamTest : public testing::Test {
 protected:
  GenerateStreamTest() : model_({.head_dim = 32, .context_length = 1024}) {}

  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(local_,
                         engine::LocalEngine::Open({.rank = {.model_path = model_.path(),
                                                             .num_threads = 1,
                                                             .kv_cache_memory_bytes = 64 << 20,
                                                             .max_num_batched_tokens = 64}}));
  }
  // The stream holds itself until gRPC is done with it.
  void TearDown() override {
    if (stream_ != nullptr) stream_->OnDone();
  }

  void MakeStream(int num_samples) {
    left_ = std::make_unique<std::latch>(num_samples);
    stream_ = std::make_shared<HookedStream>(
        &local_->engine(), num_samples, policy::KvHeads{.count = 2},
        GenerateStream::Callbacks{.on_finish =
                                      [this](const engine::FinishEvent& event) {
                                        reasons_[event.sample_idx] = event.reason;
                                        left_->count_down();
                                      },
                                  .on_done = [] {},
                                  .cancel_call = [this] { ++num_call_cancels_; }});
  }

  static engine::GenerationRequest MakeRequest(int num_samples, int max_tokens) {
    engine::GenerationRequest request;
    request.prompt_ids = {1, 2, 3};
    request.params.ignore_eos = true;
    for (int i = 0; i < num_samples; ++i) request.seeds.push_back(i);
    request.max_tokens = max_tokens;
    return request;
  }

  // Runs the request to its end and returns why each sample ended.
  std::map<int, FinishReason> Run(int max_tokens, int num_samples) {
    stream_->Start(MakeRequest(num_samples, max_tokens));
    started_.count_down();
    left_->wait();
    return reasons_;
  }

  loader::TinyLlamaFile model_;
  std::unique_ptr<engine::LocalEngine> local_;
  std::shared_ptr<HookedStream> stream_;
  std::latch started_{1};  // the request's id is known
  std::unique_ptr<std::latch> left_;
  std::map<int, FinishReason> reasons_;
  int num_call_cancels_ = 0;
};

TEST_F(GenerateStreamTest, TheCallOfAClientThatDoesNotReadIsCancelledOnce) {
  MakeStream(8);
  for (const auto& [sample, reason] : Run(600, 8)) {
    EXPECT_EQ(reason, FinishReason::kCancelled) << sample;
  }
  EXPECT_EQ(num_call_cancels_, 1);
}

TEST_F(GenerateStreamTest, ACallWithinItsBufferIsNotCancelled) {
  MakeStream(1);
  EXPECT_EQ(Run(900, 1)[0], FinishReason::kLength);
  EXPECT_EQ(num_call_cancels_, 0);
}

TEST_F(GenerateStreamTest, ASampleCancelledBeforeTheRequestHasItsIdEnds) {
  MakeStream(2);
  stream_->CancelSample(1);
  // The engine, however fast, draws no second token before Start has passed the cancel on.
  stream_->hook = [&] { started_.wait(); };
  auto reasons = Run(20, 2);
  EXPECT_EQ(reasons[0], FinishReason::kLength);
  EXPECT_EQ(reasons[1], FinishReason::kCancelled);
}

TEST_F(GenerateStreamTest, CancelsOfUnknownAndCancelledSamplesDoNotFillTheEnginesQueue) {
  MakeStream(2);
  absl::Status other;
  stream_->hook = [&] {
    started_.wait();
    for (int i = 0; i < 10'000; ++i) {
      for (const int sample : {-1, 1, 2, 16'000'000}) stream_->CancelSample(sample);
    }
    other = local_->engine()
                .Submit(MakeRequest(1, 1), std::make_shared<engine::CollectingSink>())
                .status();
  };
  auto reasons = Run(20, 2);
  EXPECT_OK(other);
  EXPECT_EQ(reasons[0], FinishReason::kLength);
  EXPECT_EQ(reasons[1], FinishReason::kCancelled);
}

}  // namespace
}  // namespace skv::server
