#include "worker/loader/llama_config.h"

#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::loader {
namespace {

// Far above any model of the family, far below overflow of what is computed from them.
constexpr uint64_t kMaxLayers = 1024;
constexpr uint64_t kMaxHidden = 1 << 17;
constexpr uint64_t kMaxHeads = 1024;
constexpr uint64_t kMaxHeadDim = 512;
constexpr uint64_t kMaxFfn = 1 << 20;
constexpr uint64_t kMaxVocabSize = 1 << 20;
constexpr uint64_t kMaxContextLength = 1 << 24;
constexpr double kMaxRopeFactor = 1e6;

// Reads the keys of one file; errors carry its name.
class ConfigReader {
 public:
  explicit ConfigReader(const GgufFile& file) : file_(file), metadata_(file.metadata()) {}

  absl::StatusOr<LlamaConfig> Read();

 private:
  absl::Status CheckArchitecture();
  absl::Status CheckVariant();
  absl::Status ReadSizes(LlamaConfig* config);
  absl::Status ReadHeads(LlamaConfig* config);
  absl::Status ReadVocabSize(LlamaConfig* config);
  absl::Status ReadRopeScaling(RopeScaling* scaling);

  absl::Status ReadInt(std::string_view key, uint64_t max_value, int* out);
  absl::Status ReadIntOr(std::string_view key, uint64_t max_value, int default_value, int* out);
  absl::Status ReadDoubleOr(std::string_view key, double min_value, double max_value, double* out);
  template <typename T, typename E>
  absl::Status Wrong(std::string_view key, const T& got, const E& expected) {
    return absl::DataLossError(absl::StrCat(file_.name(), ": metadata key ", Sv(key), ": is ", got,
                                            ", expected ", expected));
  }

  const GgufFile& file_;
  const GgufMetadata& metadata_;
};

absl::Status ConfigReader::ReadInt(std::string_view key, uint64_t max_value, int* out) {
  SKV_ASSIGN_OR_RETURN(const uint64_t value, metadata_.Uint(key));
  if (value < 1 || value > max_value) return Wrong(key, value, absl::StrCat("1 to ", max_value));
  *out = static_cast<int>(value);
  return absl::OkStatus();
}

absl::Status ConfigReader::ReadIntOr(std::string_view key, uint64_t max_value, int default_value,
                                     int* out) {
  *out = default_value;
  return metadata_.Has(key) ? ReadInt(key, max_value, out) : absl::OkStatus();
}

// Leaves `out` alone when the key is missing.
absl::Status ConfigReader::ReadDoubleOr(std::string_view key, double min_value, double max_value,
                                        double* out) {
  SKV_ASSIGN_OR_RETURN(const double value, metadata_.FloatOr(key, *out));
  if (!(value >= min_value && value <= max_value)) {  // NaN is neither
    return Wrong(key, value, absl::StrCat(min_value, " to ", max_value));
  }
  *out = value;
  return absl::OkStatus();
}

absl::Status ConfigReader::CheckArchitecture() {
  SKV_ASSIGN_OR_RETURN(const std::string_view architecture,
                       metadata_.String("general.architecture"));
  if (architecture == "llama") return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat(file_.name(), ": general.architecture is ", Printable(architecture),
                   ", expected llama; use a model of the Llama family"));
}

// Keys whose presence means a computation that is not the plain Llama's.
absl::Status ConfigReader::CheckVariant() {
  static constexpr struct {
    std::string_view key;
    uint64_t plain_value;
    const char* meaning;
  } kVariants[] = {
      {"llama.expert_count", 0, "a mixture of experts"},
      {"llama.attention.sliding_window", 0, "attention in a sliding window"},
      {"split.count", 1, "a file split in parts: join the parts first"},
  };
  for (const auto& variant : kVariants) {
    SKV_ASSIGN_OR_RETURN(const uint64_t value, metadata_.UintOr(variant.key, variant.plain_value));
    if (value == variant.plain_value || value == 0) continue;
    return absl::UnimplementedError(absl::StrCat(file_.name(), ": ", Sv(variant.key), " is ", value,
                                                 ", which means ", variant.meaning, "; expected ",
                                                 variant.plain_value));
  }
  return absl::OkStatus();
}

absl::Status ConfigReader::ReadSizes(LlamaConfig* config) {
  SKV_RETURN_IF_ERROR(ReadInt("llama.block_count", kMaxLayers, &config->num_layers));
  SKV_RETURN_IF_ERROR(ReadInt("llama.embedding_length", kMaxHidden, &config->hidden));
  SKV_RETURN_IF_ERROR(ReadInt("llama.feed_forward_length", kMaxFfn, &config->ffn));
  return ReadInt("llama.context_length", kMaxContextLength, &config->context_length);
}

absl::Status ConfigReader::ReadHeads(LlamaConfig* config) {
  SKV_RETURN_IF_ERROR(ReadInt("llama.attention.head_count", kMaxHeads, &config->num_heads));
  SKV_RETURN_IF_ERROR(ReadIntOr("llama.attention.head_count_kv", kMaxHeads, config->num_heads,
                                &config->num_kv_heads));
  if (config->num_heads % config->num_kv_heads != 0) {
    return Wrong("llama.attention.head_count_kv", config->num_kv_heads,
                 absl::StrCat("a divisor of the ", config->num_heads, " heads"));
  }
  const int default_dim = config->hidden / config->num_heads;
  SKV_RETURN_IF_ERROR(
      ReadIntOr("llama.attention.key_length", kMaxHeadDim, default_dim, &config->head_dim));
  if (config->head_dim % 2 != 0 || config->head_dim < 1 ||
      config->head_dim > static_cast<int>(kMaxHeadDim)) {
    return Wrong("llama.attention.key_length", config->head_dim,
                 absl::StrCat("an even number up to ", kMaxHeadDim,
                              " (embedding_length / head_count where the key is missing)"));
  }
  for (const std::string_view key :
       {"llama.attention.value_length", "llama.rope.dimension_count"}) {
    int value = 0;
    SKV_RETURN_IF_ERROR(ReadIntOr(key, kMaxHeadDim, config->head_dim, &value));
    if (value != config->head_dim) {
      return Wrong(key, value, absl::StrCat(config->head_dim, ", the head dimension"));
    }
  }
  return absl::OkStatus();
}

// The embedding has the last word: files written before llama.vocab_size existed are around.
absl::Status ConfigReader::ReadVocabSize(LlamaConfig* config) {
  const TensorView* embedding = file_.FindTensor("token_embd.weight");
  if (embedding == nullptr) {
    return absl::NotFoundError(absl::StrCat(file_.name(), ": tensor token_embd.weight is missing"));
  }
  const int64_t num_rows = embedding->dims[1];
  if (num_rows > static_cast<int64_t>(kMaxVocabSize)) {
    return absl::DataLossError(absl::StrCat(file_.name(), ": tensor token_embd.weight: ", num_rows,
                                            " rows, expected at most ", kMaxVocabSize));
  }
  config->vocab_size = static_cast<int>(num_rows);
  int stated = 0;
  SKV_RETURN_IF_ERROR(ReadIntOr("llama.vocab_size", kMaxVocabSize, config->vocab_size, &stated));
  if (stated != config->vocab_size) {
    return Wrong("llama.vocab_size", stated,
                 absl::StrCat(config->vocab_size, ", the rows of token_embd.weight"));
  }
  config->tied_embeddings = file_.FindTensor("output.weight") == nullptr;
  return absl::OkStatus();
}

absl::Status ConfigReader::ReadRopeScaling(RopeScaling* scaling) {
  constexpr std::string_view kTypeKey = "llama.rope.scaling.type";
  SKV_ASSIGN_OR_RETURN(const std::string_view type, metadata_.StringOr(kTypeKey, "none"));
  if (type == "none") return absl::OkStatus();
  if (type != "linear" && type != "llama3") {
    return absl::UnimplementedError(absl::StrCat(file_.name(), ": metadata key ", Sv(kTypeKey),
                                                 ": is ", Printable(type),
                                                 ", expected none, linear or llama3"));
  }
  if (!metadata_.Has("llama.rope.scaling.factor")) {
    return metadata_.Float("llama.rope.scaling.factor").status();
  }
  scaling->type = type == "linear" ? RopeScalingType::kLinear : RopeScalingType::kLlama3;
  SKV_RETURN_IF_ERROR(
      ReadDoubleOr("llama.rope.scaling.factor", 1e-3, kMaxRopeFactor, &scaling->factor));
  if (scaling->type == RopeScalingType::kLinear) return absl::OkStatus();
  SKV_RETURN_IF_ERROR(ReadDoubleOr("llama.rope.scaling.low_freq_factor", 1e-3, kMaxRopeFactor,
                                   &scaling->low_freq_factor));
  SKV_RETURN_IF_ERROR(ReadDoubleOr("llama.rope.scaling.high_freq_factor", 1e-3, kMaxRopeFactor,
                                   &scaling->high_freq_factor));
  if (scaling->high_freq_factor <= scaling->low_freq_factor) {
    return Wrong("llama.rope.scaling.high_freq_factor", scaling->high_freq_factor,
                 absl::StrCat("more than low_freq_factor, ", scaling->low_freq_factor));
  }
  return ReadIntOr("llama.rope.scaling.original_context_length", kMaxContextLength,
                   scaling->original_context_length, &scaling->original_context_length);
}

absl::StatusOr<LlamaConfig> ConfigReader::Read() {
  LlamaConfig config;
  SKV_RETURN_IF_ERROR(CheckArchitecture());
  SKV_RETURN_IF_ERROR(CheckVariant());
  SKV_RETURN_IF_ERROR(ReadSizes(&config));
  SKV_RETURN_IF_ERROR(ReadHeads(&config));
  SKV_RETURN_IF_ERROR(ReadVocabSize(&config));
  SKV_RETURN_IF_ERROR(ReadDoubleOr("llama.rope.freq_base", 1.0, 1e12, &config.rope_theta));
  SKV_RETURN_IF_ERROR(
      ReadDoubleOr("llama.attention.layer_norm_rms_epsilon", 1e-12, 1.0, &config.rms_eps));
  SKV_RETURN_IF_ERROR(ReadRopeScaling(&config.rope_scaling));
  return config;
}

// Llama 3.1: frequencies are kept where the training context holds many wavelengths, divided where
// it holds few, and interpolated in between.
double ScaleLlama3(double frequency, const RopeScaling& scaling) {
  const double wavelength = 2.0 * std::numbers::pi / frequency;
  const double num_waves = scaling.original_context_length / wavelength;
  if (num_waves < scaling.low_freq_factor) return frequency / scaling.factor;
  if (num_waves > scaling.high_freq_factor) return frequency;
  const double kept =
      (num_waves - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1.0 - kept) * frequency / scaling.factor + kept * frequency;
}

}  // namespace

absl::StatusOr<LlamaConfig> ReadLlamaConfig(const GgufFile& file) {
  return ConfigReader(file).Read();
}

std::vector<float> RopeFrequencies(const LlamaConfig& config, std::span<const float> divisors) {
  std::vector<float> frequencies(config.head_dim / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    double frequency = std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / config.head_dim);
    switch (config.rope_scaling.type) {
      case RopeScalingType::kNone:
        break;
      case RopeScalingType::kLinear:
        frequency /= config.rope_scaling.factor;
        break;
      case RopeScalingType::kLlama3:
        frequency = ScaleLlama3(frequency, config.rope_scaling);
        break;
    }
    if (!divisors.empty()) frequency /= divisors[i];
    frequencies[i] = static_cast<float>(frequency);
  }
  return frequencies;
}

}  // namespace skv::loader
