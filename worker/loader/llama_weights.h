#pragma once
// Where each weight of a Llama model lies in its file, with every shape and type checked against
// the configuration.

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/llama_config.h"

namespace skv::loader {

// Shapes are [rows, row length]; q = num_heads * head_dim, kv = num_kv_heads * head_dim.
struct LlamaLayerTensors {
  TensorView attn_norm;    // [hidden], a plain float type
  TensorView attn_q;       // [q, hidden], rows permuted for rope pairs (2i, 2i + 1)
  TensorView attn_k;       // [kv, hidden], likewise
  TensorView attn_v;       // [kv, hidden]
  TensorView attn_output;  // [hidden, q]
  TensorView ffn_norm;     // [hidden], a plain float type
  TensorView ffn_gate;     // [ffn, hidden]
  TensorView ffn_up;       // [ffn, hidden]
  TensorView ffn_down;     // [hidden, ffn]
};

// Views into the file, which must outlive them.
struct LlamaTensors {
  TensorView token_embd;   // [vocab_size, hidden]
  TensorView output;       // [vocab_size, hidden]; token_embd where the file has none
  TensorView output_norm;  // [hidden], a plain float type
  std::optional<TensorView>
      rope_freqs;  // [head_dim / 2], F32, all positive: RopeFrequencies' divisors
  std::vector<LlamaLayerTensors> layers;
};

// NotFound: a tensor is missing. DataLoss: one has another shape or type, or values that cannot be.
// Unimplemented: the file has a tensor that the plain Llama does not use, such as a bias; leaving
// it out would compute something else.
absl::StatusOr<LlamaTensors> FindLlamaTensors(const GgufFile& file, const LlamaConfig& config);

// A plain float tensor's values. REQUIRES: F32, F16 or BF16.
std::vector<float> ReadFloats(const TensorView& tensor);

}  // namespace skv::loader
