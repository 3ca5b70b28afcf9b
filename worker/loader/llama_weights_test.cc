#include "worker/loader/llama_weights.h"

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/loader/testing/gguf_writer.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::loader {
namespace {

using kernels::QuantType;
using ::testing::HasSubstr;

std::unique_ptr<GgufFile> Parse(const std::string& bytes) {
  return *GgufFile::Parse(std::as_bytes(std::span(bytes)), "m.gguf");
}

TEST(LlamaWeightsTest, FindsEveryTensorOfEveryType) {
  for (const QuantType type : {QuantType::kF32, QuantType::kF16, QuantType::kBF16, QuantType::kQ4_0,
                               QuantType::kQ5_1, QuantType::kQ4_K, QuantType::kQ6_K}) {
    SCOPED_TRACE(kernels::QuantTypeName(type));
    TinyLlamaOptions options;
    options.hidden = options.ffn = 256;
    options.head_dim = 64;
    options.weight_type = options.embedding_type = type;
    const std::string bytes = TinyLlamaGguf(options);
    const auto file = Parse(bytes);
    ASSERT_OK_AND_ASSIGN(const LlamaConfig config, ReadLlamaConfig(*file));
    ASSERT_OK_AND_ASSIGN(const LlamaTensors tensors, FindLlamaTensors(*file, config));
    ASSERT_EQ(tensors.layers.size(), 2u);
    EXPECT_EQ(tensors.layers[1].attn_v.name, "blk.1.attn_v.weight");
    EXPECT_EQ(tensors.layers[1].attn_v.type, type);
    EXPECT_EQ(tensors.output.name, "token_embd.weight") << "tied";
    EXPECT_FALSE(tensors.rope_freqs.has_value());
    for (const float value : ReadFloats(tensors.output_norm)) EXPECT_NEAR(value, 1.0f, 0.2f);
  }
}

TEST(LlamaWeightsTest, TakesTheHeadAndTheRopeDivisorsWhereTheFileHasThem) {
  TinyLlamaOptions options;
  options.tied_embeddings = false;
  options.rope_scaling = TinyRopeScaling::kFrequencyTensor;
  const std::string bytes = TinyLlamaGguf(options);
  const auto file = Parse(bytes);
  ASSERT_OK_AND_ASSIGN(const LlamaConfig config, ReadLlamaConfig(*file));
  ASSERT_OK_AND_ASSIGN(const LlamaTensors tensors, FindLlamaTensors(*file, config));
  EXPECT_EQ(tensors.output.name, "output.weight");
  ASSERT_TRUE(tensors.rope_freqs.has_value());
  EXPECT_EQ(ReadFloats(*tensors.rope_freqs),
            (std::vector<float>{1.0f, 1.375f, 1.75f, 2.125f, 2.5f, 2.875f, 3.25f, 3.625f}));
}

TEST(LlamaWeightsTest, TypesMayDifferWithinALayer) {
  TinyLlamaOptions options;
  options.hidden = options.ffn = 256;
  options.weight_type = QuantType::kQ4_K;
  options.value_type = QuantType::kQ6_K;
  options.head_dim = 64;
  const std::string bytes = TinyLlamaGguf(options);
  const auto file = Parse(bytes);
  ASSERT_OK_AND_ASSIGN(const LlamaConfig config, ReadLlamaConfig(*file));
  ASSERT_OK_AND_ASSIGN(const LlamaTensors tensors, FindLlamaTensors(*file, config));
  EXPECT_EQ(tensors.layers[0].attn_q.type, QuantType::kQ4_K);
  EXPECT_EQ(tensors.layers[0].attn_v.type, QuantType::kQ6_K);
  EXPECT_EQ(tensors.layers[0].ffn_up.type, QuantType::kQ4_K);
  EXPECT_EQ(tensors.layers[0].ffn_down.type, QuantType::kQ6_K);
}

// A tensor of F32 zeros, or of another type's zero blocks.
struct Tensor {
  std::vector<uint64_t> dims;
  QuantType type = QuantType::kF32;
};

std::map<std::string, Tensor> OneLayer() {
  return {{"token_embd.weight", {{64, 32}}},        {"output_norm.weight", {{64}}},
          {"blk.0.attn_norm.weight", {{64}}},       {"blk.0.attn_q.weight", {{64, 64}}},
          {"blk.0.attn_k.weight", {{64, 32}}},      {"blk.0.attn_v.weight", {{64, 32}}},
          {"blk.0.attn_output.weight", {{64, 64}}}, {"blk.0.ffn_norm.weight", {{64}}},
          {"blk.0.ffn_gate.weight", {{64, 128}}},   {"blk.0.ffn_up.weight", {{64, 128}}},
          {"blk.0.ffn_down.weight", {{128, 64}}}};
}

absl::Status Find(const std::map<std::string, Tensor>& model) {
  GgufWriter writer;
  for (const auto& [name, tensor] : model) {
    size_t num_elements = 1;
    for (const uint64_t dim : tensor.dims) num_elements *= dim;
    const size_t num_bytes =
        num_elements / kernels::BlockElements(tensor.type) * kernels::BlockBytes(tensor.type);
    writer.AddTensor(name, tensor.dims, static_cast<uint32_t>(tensor.type),
                     std::string(num_bytes, '\0'));
  }
  const std::string bytes = writer.Finish();
  LlamaConfig config;
  config.num_layers = 1;
  config.hidden = 64;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.ffn = 128;
  config.vocab_size = 32;
  config.tied_embeddings = model.count("output.weight") == 0;
  return FindLlamaTensors(*Parse(bytes), config).status();
}

TEST(LlamaWeightsTest, NamesTheTensorItsShapeAndTheExpectedOne) {
  using Code = absl::StatusCode;
  const struct {
    const char* name;
    Tensor tensor;  // in its place; no dimensions removes it
    Code code;
    const char* message;
  } kCases[] = {
      {"blk.0.ffn_up.weight", {}, Code::kNotFound, "m.gguf: tensor blk.0.ffn_up.weight is missing"},
      {"blk.0.attn_k.weight",
       {{64, 64}},
       Code::kDataLoss,
       "m.gguf: tensor blk.0.attn_k.weight: shape [64, 64], expected [32, 64]"},
      {"blk.0.ffn_down.weight",
       {{64, 128}},
       Code::kDataLoss,
       "blk.0.ffn_down.weight: shape [128, 64], expected [64, 128]"},
      {"blk.0.ffn_norm.weight", {{64, 1}}, Code::kDataLoss, "shape [1, 64], expected [64]"},
      {"output_norm.weight", {{32}}, Code::kDataLoss, "shape [32], expected [64]"},
      {"output_norm.weight",
       {{64}, QuantType::kQ8_0},
       Code::kDataLoss,
       "output_norm.weight: type Q8_0, expected F32, F16 or BF16"},
      {"output.weight", {{64, 31}}, Code::kDataLoss, "shape [31, 64], expected [32, 64]"},
      {"rope_freqs.weight", {{4}}, Code::kDataLoss, "shape [4], expected [8]"},
      {"rope_freqs.weight", {{8}}, Code::kDataLoss, "value 0 is 0, expected a positive number"},
      {"rope_freqs.weight", {{8}, QuantType::kF16}, Code::kDataLoss, "type F16, expected F32"},
      {"blk.0.attn_q.bias",
       {{64}},
       Code::kUnimplemented,
       "tensor blk.0.attn_q.bias [64] is not part of a plain Llama"},
      {"blk.1.attn_q.weight", {{64, 64}}, Code::kUnimplemented, "blk.1.attn_q.weight [64, 64]"}};
  ASSERT_OK(Find(OneLayer()));
  for (const auto& c : kCases) {
    auto model = OneLayer();
    if (c.tensor.dims.empty()) {
      model.erase(c.name);
    } else {
      model[c.name] = c.tensor;
    }
    EXPECT_THAT(Find(model), StatusIs(c.code, HasSubstr(c.message)));
  }
}

}  // namespace
}  // namespace skv::loader
