#include "worker/loader/llama_config.h"

#include <cmath>
#include <limits>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/loader/testing/gguf_writer.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::loader {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<LlamaConfig> ConfigOf(const std::string& bytes) {
  const auto file = GgufFile::Parse(std::as_bytes(std::span(bytes)), "m.gguf");
  if (!file.ok()) return file.status();
  return ReadLlamaConfig(**file);
}

TEST(LlamaConfigTest, ReadsTheNumbersOfTheFile) {
  TinyLlamaOptions options;
  options.num_heads = 6;
  options.num_kv_heads = 3;
  options.rope_theta = 50000.0f;
  options.tied_embeddings = false;
  ASSERT_OK_AND_ASSIGN(const LlamaConfig config, ConfigOf(TinyLlamaGguf(options)));
  EXPECT_EQ(config.num_layers, 2);
  EXPECT_EQ(config.hidden, 64);
  EXPECT_EQ(config.num_heads, 6);
  EXPECT_EQ(config.num_kv_heads, 3);
  EXPECT_EQ(config.heads_per_kv_head(), 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.ffn, 128);
  EXPECT_EQ(config.vocab_size, kTinyVocabSize);
  EXPECT_EQ(config.context_length, 512);
  EXPECT_EQ(config.rope_theta, 50000.0);
  EXPECT_EQ(config.rms_eps, 1e-5f);
  EXPECT_EQ(config.rope_scaling.type, RopeScalingType::kNone);
  EXPECT_FALSE(config.tied_embeddings);
}

// The keys every file has, each replaceable; the embedding is [32, 64].
class ConfigFile {
 public:
  ConfigFile& Set(const std::string& key, uint32_t value) {
    numbers_[key] = value;
    return *this;
  }
  ConfigFile& Remove(const std::string& key) {
    numbers_.erase(key);
    return *this;
  }
  ConfigFile& Float(const std::string& key, float value) {
    floats_[key] = value;
    return *this;
  }
  ConfigFile& Text(const std::string& key, const std::string& value) {
    texts_[key] = value;
    return *this;
  }
  std::string Finish() const {
    GgufWriter writer;
    for (const auto& [key, value] : texts_) writer.AddString(key, value);
    for (const auto& [key, value] : numbers_) writer.AddUint32(key, value);
    for (const auto& [key, value] : floats_) writer.AddFloat(key, value);
    writer.AddTensor("token_embd.weight", {64, 32}, 0, std::string(64 * 32 * 4, '\0'));
    return writer.Finish();
  }

 private:
  std::map<std::string, std::string> texts_ = {{"general.architecture", "llama"}};
  std::map<std::string, float> floats_;
  std::map<std::string, uint32_t> numbers_ = {{"llama.block_count", 2},
                                              {"llama.context_length", 128},
                                              {"llama.embedding_length", 64},
                                              {"llama.feed_forward_length", 128},
                                              {"llama.attention.head_count", 4}};
};

TEST(LlamaConfigTest, FillsInWhatOldFilesLeaveOut) {
  ASSERT_OK_AND_ASSIGN(const LlamaConfig config, ConfigOf(ConfigFile().Finish()));
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.vocab_size, 32);
  EXPECT_EQ(config.rope_theta, 10000.0);
  EXPECT_TRUE(config.tied_embeddings);
}

TEST(LlamaConfigTest, NamesTheKeyTheValueAndWhatWasExpected) {
  using Code = absl::StatusCode;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::string scaling = "llama.rope.scaling.";
  const struct {
    ConfigFile file;
    Code code;
    const char* message;
  } kCases[] = {{ConfigFile().Text("general.architecture", "gemma2"), Code::kUnimplemented,
                 "m.gguf: general.architecture is gemma2, expected llama"},
                {ConfigFile().Remove("llama.block_count"), Code::kNotFound,
                 "m.gguf: metadata key llama.block_count is missing"},
                {ConfigFile().Set("llama.block_count", 0), Code::kDataLoss,
                 "llama.block_count: is 0, expected 1 to 1024"},
                {ConfigFile().Set("llama.block_count", 0xFFFFFFFFu), Code::kDataLoss,
                 "llama.block_count: is 4294967295, expected 1 to 1024"},
                {ConfigFile().Set("llama.attention.head_count_kv", 3), Code::kDataLoss,
                 "head_count_kv: is 3, expected a divisor of the 4 heads"},
                {ConfigFile().Set("llama.attention.head_count_kv", 0), Code::kDataLoss,
                 "head_count_kv: is 0, expected 1 to"},
                {ConfigFile().Set("llama.attention.key_length", 15), Code::kDataLoss,
                 "key_length: is 15, expected an even number"},
                {ConfigFile().Set("llama.attention.head_count", 100), Code::kDataLoss,
                 "key_length: is 0, expected an even number"},
                {ConfigFile().Set("llama.attention.value_length", 32), Code::kDataLoss,
                 "value_length: is 32, expected 16, the head dimension"},
                {ConfigFile().Set("llama.rope.dimension_count", 8), Code::kDataLoss,
                 "dimension_count: is 8, expected 16"},
                {ConfigFile().Set("llama.vocab_size", 33), Code::kDataLoss,
                 "vocab_size: is 33, expected 32, the rows of token_embd.weight"},
                {ConfigFile().Set("llama.expert_count", 8), Code::kUnimplemented,
                 "llama.expert_count is 8, which means a mixture of experts"},
                {ConfigFile().Set("split.count", 3), Code::kUnimplemented, "join the parts first"},
                {ConfigFile().Float("llama.rope.freq_base", nan), Code::kDataLoss,
                 "freq_base: is nan, expected 1 to"},
                {ConfigFile().Float("llama.attention.layer_norm_rms_epsilon", -1), Code::kDataLoss,
                 "rms_epsilon: is -1, expected"},
                {ConfigFile().Set("llama.rope.freq_base", 10000), Code::kDataLoss,
                 "freq_base: is uint32, expected float32 or float64"},
                {ConfigFile().Text(scaling + "type", "yarn"), Code::kUnimplemented,
                 "is yarn, expected none, linear or llama3"},
                {ConfigFile().Text(scaling + "type", "linear"), Code::kNotFound,
                 "llama.rope.scaling.factor is missing"},
                {ConfigFile().Text(scaling + "type", "linear").Float(scaling + "factor", 0),
                 Code::kDataLoss, "scaling.factor: is 0, expected"},
                {ConfigFile()
                     .Text(scaling + "type", "llama3")
                     .Float(scaling + "factor", 8)
                     .Float(scaling + "low_freq_factor", 4),
                 Code::kDataLoss, "high_freq_factor: is 4, expected more than low_freq_factor, 4"}};
  for (const auto& c : kCases) {
    EXPECT_THAT(ConfigOf(c.file.Finish()), StatusIs(c.code, HasSubstr(c.message)));
  }
}

TEST(LlamaConfigTest, WantsAnEmbedding) {
  GgufWriter writer;
  writer.AddString("general.architecture", "llama");
  for (const char* key : {"llama.block_count", "llama.context_length", "llama.embedding_length",
                          "llama.feed_forward_length", "llama.attention.head_count"}) {
    writer.AddUint32(key, 2);
  }
  writer.AddUint32("llama.attention.key_length", 2);
  EXPECT_THAT(ConfigOf(writer.Finish()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("token_embd.weight is missing")));
}

LlamaConfig RopeConfig(RopeScaling scaling = {}) {
  LlamaConfig config;
  config.head_dim = 128;
  config.rope_theta = 500000.0;
  config.rope_scaling = scaling;
  return config;
}

TEST(RopeFrequenciesTest, FallGeometricallyFromOne) {
  const std::vector<float> frequencies = RopeFrequencies(RopeConfig(), {});
  ASSERT_EQ(frequencies.size(), 64u);
  EXPECT_EQ(frequencies[0], 1.0f);
  EXPECT_FLOAT_EQ(frequencies[32], 1.0f / std::sqrt(500000.0f));
}

TEST(RopeFrequenciesTest, LinearScalingDividesAllOfThem) {
  const std::vector<float> plain = RopeFrequencies(RopeConfig(), {});
  const std::vector<float> scaled =
      RopeFrequencies(RopeConfig({.type = RopeScalingType::kLinear, .factor = 4.0}), {});
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(scaled[i], plain[i] / 4.0f);
}

TEST(RopeFrequenciesTest, Llama3ScalingKeepsShortWavesAndDividesLongOnes) {
  const std::vector<float> plain = RopeFrequencies(RopeConfig(), {});
  const std::vector<float> scaled =
      RopeFrequencies(RopeConfig({.type = RopeScalingType::kLlama3, .factor = 8.0}), {});
  // Wavelengths up to 8192 / 4 tokens stay, those from 8192 / 1 are divided: indexes 28 and 35 are
  // the last and the first for theta 500000.
  for (int i = 0; i <= 28; ++i) EXPECT_EQ(scaled[i], plain[i]) << i;
  for (int i = 29; i <= 34; ++i) {
    EXPECT_LT(scaled[i], plain[i]) << i;
    EXPECT_GT(scaled[i], plain[i] / 8.0f) << i;
  }
  for (int i = 35; i < 64; ++i) EXPECT_FLOAT_EQ(scaled[i], plain[i] / 8.0f) << i;
}

TEST(RopeFrequenciesTest, DivisorsOfTheFileDivide) {
  std::vector<float> divisors(64, 1.0f);
  divisors[63] = 8.0f;
  const std::vector<float> plain = RopeFrequencies(RopeConfig(), {});
  const std::vector<float> scaled = RopeFrequencies(RopeConfig(), divisors);
  EXPECT_EQ(scaled[62], plain[62]);
  EXPECT_FLOAT_EQ(scaled[63], plain[63] / 8.0f);
}

}  // namespace
}  // namespace skv::loader
