#pragma once
// A small random Llama as a GGUF file, for every test that wants a model without downloading one.
// It is a complete model: metadata, tokenizer, chat template and tensors under their usual names.
//
// The vocabulary: 256 byte tokens in GPT-2's character mapping (the id of a byte token is the
// byte's index in the mapping's usual order), 12 merged pieces such as "Ġthe", then the specials
// <|endoftext|>, <|im_start|>, <|im_end|> and unused ones up to kTinyVocabSize.

#include <cstdint>
#include <optional>
#include <string>

#include "common/types.h"
#include "kernels/quant/quant_type.h"

namespace skv::loader {

inline constexpr int kTinyVocabSize = 288;
inline constexpr TokenId kTinyEosId = 268;      // <|endoftext|>, also beginning and padding
inline constexpr TokenId kTinyImStartId = 269;  // <|im_start|>
inline constexpr TokenId kTinyImEndId = 270;    // <|im_end|>, the end of a turn

enum class TinyRopeScaling { kNone, kLinear, kFrequencyTensor };

struct TinyLlamaOptions {
  int num_layers = 2;
  int hidden = 64;
  int num_heads = 4;
  int num_kv_heads = 2;
  int head_dim = 16;
  int ffn = 128;
  int context_length = 512;
  float rope_theta = 10000.0f;
  float rms_eps = 1e-5f;
  TinyRopeScaling rope_scaling = TinyRopeScaling::kNone;  // kLinear: by 4; the tensor: 1 to 4
  bool tied_embeddings = true;
  bool has_tokenizer = true;
  kernels::QuantType embedding_type = kernels::QuantType::kQ8_0;  // token_embd and output
  kernels::QuantType weight_type = kernels::QuantType::kQ4_1;     // all other matrices
  // attn_v and ffn_down, which real K-quant files store in finer types; weight_type where empty.
  std::optional<kernels::QuantType> value_type;
  uint64_t seed = 1;  // same options, same bytes
};

// The file's bytes. REQUIRES: hidden, ffn and num_heads * head_dim are multiples of the block
// elements of the types that have rows of that length.
std::string TinyLlamaGguf(const TinyLlamaOptions& options = {});

// The same in a temporary file, removed with this object. Aborts when it cannot be written.
class TinyLlamaFile {
 public:
  explicit TinyLlamaFile(const TinyLlamaOptions& options = {});
  ~TinyLlamaFile();
  TinyLlamaFile(const TinyLlamaFile&) = delete;
  TinyLlamaFile& operator=(const TinyLlamaFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Random blocks of `type` whose values have mean 0 and roughly the standard deviation `spread`.
std::string RandomBlocks(kernels::QuantType type, int64_t num_elements, float spread,
                         uint64_t seed);

}  // namespace skv::loader
