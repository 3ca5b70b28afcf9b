// The forward pass against logits of transformers in float32 on the same dequantised weights, with
// the limits of the row A.logits.

#include "worker/model/llama_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/testing/status_matchers.h"
#include "worker/comm/self_communicator.h"
#include "worker/kv/kv_pool.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/testing/default_model.h"
#include "worker/model/testing/logits_golden.h"

namespace skv::model {
namespace {

struct Limits {
  double clear_margin, least_top1, most_mean_kl;
};
constexpr Limits kReference = {.clear_margin = 1e-3, .least_top1 = 1, .most_mean_kl = 1e-6};
constexpr Limits kServing = {.clear_margin = 0.1, .least_top1 = 0.995, .most_mean_kl = 1e-3};

// How a document is fed: prompt rows in chunks, then generated rows one at a time.
struct Feed {
  std::string backend;
  int chunk = 512;
  int num_generated = 0;
};

// Logits [golden.positions().size(), vocabulary] of the golden's document.
absl::StatusOr<std::vector<float>> Logits(const std::string& path, const LogitsGolden& golden,
                                          const Feed& feed) {
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(path));
  SKV_ASSIGN_OR_RETURN(const auto config, loader::ReadLlamaConfig(*file));
  SKV_ASSIGN_OR_RETURN(const auto tensors, loader::FindLlamaTensors(*file, config));
  SKV_ASSIGN_OR_RETURN(const auto plan, loader::MakeShardPlan(config, tensors, 1, 0));
  SKV_ASSIGN_OR_RETURN(const auto backend, backend::CreateBackend(feed.backend, 2));
  const auto communicator = comm::CreateSelfCommunicator();
  const int num_tokens = static_cast<int>(golden.tokens().size());
  const int num_prompt = num_tokens - feed.num_generated;
  SKV_ASSIGN_OR_RETURN(
      const auto model,
      LlamaModel::Load(config, tensors, plan, {.max_rows = feed.chunk, .max_positions = num_tokens},
                       backend.get(), communicator.get()));
  SKV_ASSIGN_OR_RETURN(const auto pool, kv::KvPool::Create(model->kv_layout(), num_tokens + 256));
  SKV_ASSIGN_OR_RETURN(const auto policy,
                       policy::CreatePolicy({.name = "full"}, model->sequence_shape(num_prompt),
                                            /*sentences=*/nullptr));
  kv::SequenceCache cache(pool.get(), num_prompt, /*sentence_ends=*/{});
  policy::KvUse use;
  std::vector<float> all, logits;
  auto next = golden.positions().begin();
  for (int begin = 0, count; begin < num_tokens; begin += count) {
    const bool generated = begin >= num_prompt;
    count = generated ? 1 : std::min(feed.chunk, num_prompt - begin);
    std::vector<int> rows;
    for (; next != golden.positions().end() && *next < begin + count; ++next) {
      rows.push_back(*next - begin);
    }
    SKV_RETURN_IF_ERROR(cache.Reserve(count));
    const SequenceRows sequence{&cache, policy.get(), &use, begin, count, generated};
    const std::span tokens(golden.tokens().data() + begin, count);
    SKV_RETURN_IF_ERROR(model->Forward(
        {.tokens = tokens, .sequences = {&sequence, 1}, .logit_rows = rows}, &logits));
    cache.Commit();
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

void ExpectWithin(const Limits& limits, const std::string& path, const LogitsGolden& golden,
                  const Feed& feed) {
  SCOPED_TRACE(path + ", backend " + feed.backend);
  ASSERT_OK_AND_ASSIGN(const std::vector<float> logits, Logits(path, golden, feed));
  ASSERT_EQ(logits.size(), golden.positions().size() * golden.vocab_size());
  const LogitsDistance distance = golden.Compare(logits, limits.clear_margin);
  EXPECT_GE(distance.num_clear, 4);
  EXPECT_GE(distance.num_agreed, limits.least_top1 * distance.num_clear);
  EXPECT_LE(distance.mean_kl, limits.most_mean_kl);
}

TEST(LlamaModelTest, DefaultModelOnTheServingPath) {
  ASSERT_OK_AND_ASSIGN(const std::string path, loader::DefaultModelPath());
  ASSERT_OK_AND_ASSIGN(const LogitsGolden golden, LogitsGolden::Read("tests/golden/logits_small"));
  ExpectWithin(kServing, path, golden, {.backend = "cpu"});
  ExpectWithin(kServing, path, golden, {.backend = "cpu", .chunk = 37, .num_generated = 60});
}

// Scalar arithmetic in double: a part of the document has to do.
TEST(LlamaModelTest, DefaultModelOnTheReferencePath) {
  ASSERT_OK_AND_ASSIGN(const std::string path, loader::DefaultModelPath());
  ASSERT_OK_AND_ASSIGN(LogitsGolden golden, LogitsGolden::Read("tests/golden/logits_small"));
  golden.Truncate(32);
  ExpectWithin(kReference, path, golden, {.backend = "ref", .chunk = 13, .num_generated = 3});
}

// All other weight formats, an output matrix of its own, and Llama 3's rope scaling.
TEST(LlamaModelTest, TinyModelsOnBothPaths) {
  for (const std::string name : {"kquants", "mixed"}) {
    const std::string path = "tests/golden/tiny_" + name + ".gguf";
    ASSERT_OK_AND_ASSIGN(const LogitsGolden golden,
                         LogitsGolden::Read("tests/golden/logits_" + name));
    ExpectWithin(kReference, path, golden, {.backend = "ref", .chunk = 20, .num_generated = 10});
    ExpectWithin(kServing, path, golden, {.backend = "cpu", .chunk = 20, .num_generated = 10});
  }
}

}  // namespace
}  // namespace skv::model
