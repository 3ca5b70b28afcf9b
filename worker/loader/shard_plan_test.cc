#include "worker/loader/shard_plan.h"

#include <cmath>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::loader {
namespace {

using kernels::QuantType;
using ::testing::HasSubstr;

// A model's plan inputs; the tensors are views without data but with sizes.
struct Model {
  std::string bytes;
  std::unique_ptr<GgufFile> file;
  LlamaConfig config;
  LlamaTensors tensors;
};

std::unique_ptr<Model> Load(const TinyLlamaOptions& options) {
  auto model = std::make_unique<Model>();
  model->bytes = TinyLlamaGguf(options);
  model->file = *GgufFile::Parse(std::as_bytes(std::span(model->bytes)), "m.gguf");
  model->config = *ReadLlamaConfig(*model->file);
  model->tensors = *FindLlamaTensors(*model->file, model->config);
  return model;
}

// One layer of SmolLM2-135M's proportions.
TinyLlamaOptions SmolShape() {
  TinyLlamaOptions options;
  options.num_layers = 1;
  options.hidden = 576;
  options.num_heads = 9;
  options.num_kv_heads = 3;
  options.head_dim = 64;
  options.ffn = 1536;
  return options;
}

double LayerBytes(const LlamaLayerTensors& layer, const ShardPlan& plan) {
  const auto bytes = [](const TensorView& tensor, const TensorSlice& slice) {
    return static_cast<double>(tensor.row_bytes()) * slice.num_outputs() * slice.num_inputs() /
           static_cast<double>(tensor.dims[0]);
  };
  return bytes(layer.attn_q, plan.attn_q) + bytes(layer.attn_k, plan.attn_kv) +
         bytes(layer.attn_v, plan.attn_kv) + bytes(layer.attn_output, plan.attn_output) +
         bytes(layer.ffn_gate, plan.ffn_gate_up) + bytes(layer.ffn_up, plan.ffn_gate_up) +
         bytes(layer.ffn_down, plan.ffn_down);
}

TEST(ShardPlanTest, OneRankHasEverything) {
  const auto model = Load({});
  ASSERT_OK_AND_ASSIGN(const ShardPlan plan, MakeShardPlan(model->config, model->tensors, 1, 0));
  EXPECT_EQ(plan.kv_heads, (Range{0, 2}));
  EXPECT_EQ(plan.heads, (Range{0, 4}));
  EXPECT_EQ(plan.ffn, (Range{0, 128}));
  EXPECT_EQ(plan.vocab, (Range{0, kTinyVocabSize}));
}

TEST(ShardPlanTest, FfnEvensOutAnUnevenHeadSplit) {
  const auto model = Load(SmolShape());
  ASSERT_OK_AND_ASSIGN(const ShardPlan first, MakeShardPlan(model->config, model->tensors, 2, 0));
  ASSERT_OK_AND_ASSIGN(const ShardPlan second, MakeShardPlan(model->config, model->tensors, 2, 1));
  EXPECT_EQ(first.kv_heads, (Range{0, 2}));
  EXPECT_EQ(first.heads, (Range{0, 6}));
  EXPECT_EQ(second.heads, (Range{6, 9}));
  EXPECT_EQ(first.ffn.end, second.ffn.begin);
  EXPECT_EQ(first.ffn, (Range{0, 640}));
  const LlamaLayerTensors& layer = model->tensors.layers[0];
  EXPECT_NEAR(LayerBytes(layer, first) / LayerBytes(layer, second), 1.0, 0.09);  // one segment
  EXPECT_EQ(first.vocab, (Range{0, 144}));
}

TEST(ShardPlanTest, RanksCoverEverythingOnceInUnits) {
  for (const QuantType type : {QuantType::kQ8_0, QuantType::kF16, QuantType::kQ6_K}) {
    TinyLlamaOptions options;
    options.num_heads = 16;
    options.num_kv_heads = 8;
    options.head_dim = 32;
    options.hidden = 256;
    options.ffn = 2048;
    options.weight_type = type;
    const auto model = Load(options);
    ASSERT_OK_AND_ASSIGN(const ShardPlan one_rank,
                         MakeShardPlan(model->config, model->tensors, 1, 0));
    EXPECT_EQ(one_rank.attn_output_segment, type == QuantType::kQ6_K ? 256 : 64);
    EXPECT_EQ(one_rank.ffn_segment, type == QuantType::kQ6_K ? 256 : 128);
    const int max_world = type == QuantType::kQ6_K ? 2 : 8;  // 256 columns are 4 KV heads
    for (int world_size = 1; world_size <= max_world; ++world_size) {
      SCOPED_TRACE(testing::Message() << kernels::QuantTypeName(type) << " --tp " << world_size);
      ShardPlan previous;
      for (int rank = 0; rank < world_size; ++rank) {
        ASSERT_OK_AND_ASSIGN(const ShardPlan plan,
                             MakeShardPlan(model->config, model->tensors, world_size, rank));
        EXPECT_EQ(plan.kv_heads.begin, previous.kv_heads.end);
        EXPECT_EQ(plan.ffn.begin, previous.ffn.end);
        EXPECT_EQ(plan.vocab.begin, previous.vocab.end);
        for (const Range& range : {plan.kv_heads, plan.ffn, plan.vocab}) EXPECT_GT(range.size(), 0);
        EXPECT_EQ(plan.attn_output_segment, one_rank.attn_output_segment);
        EXPECT_EQ(plan.ffn_segment, one_rank.ffn_segment);
        EXPECT_EQ(plan.attn_output.input_begin % plan.attn_output_segment, 0);
        EXPECT_EQ(plan.ffn_down.input_begin % plan.ffn_segment, 0);
        EXPECT_EQ(plan.attn_output_segment % kernels::BlockElements(type), 0);
        EXPECT_EQ(plan.ffn_segment % kernels::BlockElements(type), 0);
        EXPECT_EQ(plan.vocab.begin % 16, 0);
        previous = plan;
      }
      EXPECT_EQ(previous.kv_heads.end, 8);
      EXPECT_EQ(previous.heads.end, 16);
      EXPECT_EQ(previous.ffn.end, 2048);
      EXPECT_EQ(previous.vocab.end, kTinyVocabSize);
    }
  }
}

TEST(ShardPlanTest, ARankOverloadedByItsHeadsStillGetsFfnColumns) {
  TinyLlamaOptions options;
  options.num_heads = 48;
  options.num_kv_heads = 3;
  options.ffn = 256;  // two segments for two ranks, however uneven the heads
  const auto model = Load(options);
  ASSERT_OK_AND_ASSIGN(const ShardPlan first, MakeShardPlan(model->config, model->tensors, 2, 0));
  ASSERT_OK_AND_ASSIGN(const ShardPlan second, MakeShardPlan(model->config, model->tensors, 2, 1));
  EXPECT_EQ(first.ffn, (Range{0, 128}));
  EXPECT_EQ(second.ffn, (Range{128, 256}));
}

TEST(ShardPlanTest, RefusesMoreRanksThanCanShareNamingTheFlag) {
  TinyLlamaOptions q6k;
  q6k.num_heads = 4;
  q6k.num_kv_heads = 4;
  q6k.head_dim = 128;
  q6k.hidden = 256;
  q6k.ffn = 1024;
  q6k.weight_type = QuantType::kQ6_K;
  TinyLlamaOptions narrow;
  narrow.num_kv_heads = 4;
  narrow.head_dim = 32;
  narrow.ffn = 384;
  const struct {
    TinyLlamaOptions options;
    int world_size, rank;
    const char* message;
  } kCases[] = {
      {SmolShape(), 4, 0,
       "--tp=4: the model's 3 KV heads can be shared by at most 3 rank(s); expected --tp from 1 to "
       "3"},
      {q6k, 3, 0,
       "--tp=3: attn_output, whose rows have blocks of 256 columns and heads of 128, can "},
      {narrow, 4, 0,
       "--tp=4: the feed-forward layer, 384 columns in units of 128, can be shared by at"},
      {{}, 0, 0, "rank 0 of --tp=0"},
      {{}, 2, 2, "rank 2 of --tp=2"},
      {{}, 2, -1, "rank -1 of --tp=2"}};
  for (const auto& c : kCases) {
    const auto model = Load(c.options);
    EXPECT_THAT(MakeShardPlan(model->config, model->tensors, c.world_size, c.rank),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
}

TEST(ShardPlanTest, SliceDataPointsAtTheSlicesFirstBlock) {
  const auto model = Load({});
  const TensorView& down = model->tensors.layers[0].ffn_down;  // [64, 128], Q4_1
  EXPECT_EQ(SliceData(down, {0, 64, 0, 128}), down.data.data());
  EXPECT_EQ(SliceData(down, {3, 64, 96, 128}), down.data.data() + 3 * 80 + 3 * 20);
}

}  // namespace
}  // namespace skv::loader
