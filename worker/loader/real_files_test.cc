// Files that others wrote: the default model, and the ones of tests/golden by the gguf package.

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/loader/fingerprint.h"
#include "worker/loader/llama_weights.h"
#include "worker/loader/shard_plan.h"
#include "worker/loader/testing/default_model.h"
#include "worker/loader/tokenizer_spec_loader.h"

namespace skv::loader {
namespace {

using kernels::QuantType;

TEST(RealFilesTest, TheDefaultModelIsWhatTheDocumentsSay) {
  ASSERT_OK_AND_ASSIGN(const std::string path, DefaultModelPath());
  ASSERT_OK_AND_ASSIGN(const auto file, GgufFile::Open(path));
  ASSERT_OK_AND_ASSIGN(const LlamaConfig config, ReadLlamaConfig(*file));
  EXPECT_EQ(config.num_layers, 30);
  EXPECT_EQ(config.hidden, 576);
  EXPECT_EQ(config.num_heads, 9);
  EXPECT_EQ(config.num_kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.ffn, 1536);
  EXPECT_EQ(config.vocab_size, 49152);
  EXPECT_EQ(config.context_length, 8192);
  EXPECT_EQ(config.rope_theta, 100000.0);
  EXPECT_TRUE(config.tied_embeddings);
  ASSERT_OK_AND_ASSIGN(const LlamaTensors tensors, FindLlamaTensors(*file, config));
  EXPECT_EQ(tensors.token_embd.type, QuantType::kQ8_0);
  EXPECT_EQ(tensors.layers[29].ffn_down.type, QuantType::kQ4_1);
  ASSERT_OK_AND_ASSIGN(const ShardPlan plan, MakeShardPlan(config, tensors, 2, 0));
  EXPECT_EQ(plan.kv_heads, (Range{0, 2}));
  EXPECT_EQ(plan.ffn, (Range{0, 640}));
}

TEST(RealFilesTest, TheDefaultModelsTokenizerIsComplete) {
  ASSERT_OK_AND_ASSIGN(const std::string path, DefaultModelPath());
  ASSERT_OK_AND_ASSIGN(const auto file, GgufFile::Open(path));
  ASSERT_OK_AND_ASSIGN(const text::TokenizerSpec spec, ReadTokenizerSpec(*file));
  EXPECT_EQ(spec.pre, "smollm");
  EXPECT_EQ(spec.tokens.size(), 49152u);
  EXPECT_EQ(spec.merges.size(), 48900u);
  EXPECT_EQ(spec.tokens[spec.eos_id], "<|im_end|>");
  EXPECT_FALSE(spec.add_bos);
}

TEST(RealFilesTest, ReadsFilesOfTheGgufPackage) {
  const struct {
    const char* path;
    QuantType attn_v, ffn_down;
    bool has_rope_freqs;
  } kCases[] = {{"tests/golden/tiny_kquants.gguf", QuantType::kQ6_K, QuantType::kQ6_K, false},
                {"tests/golden/tiny_mixed.gguf", QuantType::kBF16, QuantType::kQ8_0, true}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.path);
    ASSERT_OK_AND_ASSIGN(const auto file, GgufFile::Open(c.path));
    ASSERT_OK_AND_ASSIGN(const LlamaConfig config, ReadLlamaConfig(*file));
    EXPECT_EQ(config.vocab_size, 258);
    ASSERT_OK_AND_ASSIGN(const LlamaTensors tensors, FindLlamaTensors(*file, config));
    EXPECT_EQ(tensors.layers[0].attn_v.type, c.attn_v);
    EXPECT_EQ(tensors.layers[0].ffn_down.type, c.ffn_down);
    EXPECT_EQ(tensors.rope_freqs.has_value(), c.has_rope_freqs);
  }
}

}  // namespace
}  // namespace skv::loader
