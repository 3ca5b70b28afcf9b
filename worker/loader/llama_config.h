#pragma once
// The numbers of a Llama model, read from a model file and checked, so that whoever computes with
// them need not.

#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/loader/gguf_file.h"

namespace skv::loader {

enum class RopeScalingType { kNone, kLinear, kLlama3 };

// kLinear: all frequencies are divided by `factor`. kLlama3: those whose wavelength in tokens is
// longer than original_context_length / low_freq_factor are; those shorter than
// original_context_length / high_freq_factor are not; in between it fades.
struct RopeScaling {
  RopeScalingType type = RopeScalingType::kNone;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int original_context_length = 8192;
};

struct LlamaConfig {
  int num_layers = 0;
  int hidden = 0;     // width of the residual stream
  int num_heads = 0;  // query heads, a multiple of num_kv_heads
  int num_kv_heads = 0;
  int head_dim = 0;        // even; num_heads * head_dim need not be `hidden`
  int ffn = 0;             // width of the feed-forward layer
  int vocab_size = 0;      // rows of the embedding
  int context_length = 0;  // tokens the model was trained for
  double rope_theta = 10000.0;
  double rms_eps = 1e-5;
  RopeScaling rope_scaling;
  bool tied_embeddings = false;  // the head's matrix is the embedding

  int heads_per_kv_head() const { return num_heads / num_kv_heads; }
};

// Errors name the file, the key, what it is and what was expected. NotFound: a key is missing.
// DataLoss: a number out of range or against another. Unimplemented: another architecture, or a
// Llama variant (mixture of experts, YaRN, sliding window, split file) that would compute something
// else.
absl::StatusOr<LlamaConfig> ReadLlamaConfig(const GgufFile& file);

// Angle per position of each of the head_dim / 2 pairs. Files of the Llama 3.1 family carry
// `divisors` (tensor rope_freqs.weight, [head_dim / 2]) in place of a scaling type; empty for none.
// REQUIRES: divisors is empty or has head_dim / 2 positive values.
// A pair is elements 2i and 2i+1 of a head: converters to GGUF have permuted the rows of attn_q and
// attn_k so.
std::vector<float> RopeFrequencies(const LlamaConfig& config, std::span<const float> divisors);

}  // namespace skv::loader
