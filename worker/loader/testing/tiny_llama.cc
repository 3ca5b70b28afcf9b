#include "worker/loader/testing/tiny_llama.h"

#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "common/log.h"
#include "worker/loader/testing/gguf_writer.h"
#include "worker/loader/testing/splitmix64.h"

namespace skv::loader {
namespace {

using kernels::QuantType;

constexpr char kChatTemplate[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' "
    "}}{% endif %}";

std::string Utf8(uint32_t code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

// GPT-2's order: the printable bytes as themselves, then the others as U+0100 and up.
std::vector<std::string> ByteTokens() {
  const auto is_printable = [](int b) {
    return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) {
    if (is_printable(b)) tokens.push_back(Utf8(b));
  }
  for (uint32_t code_point = 0x100; tokens.size() < 256; ++code_point) {
    tokens.push_back(Utf8(code_point));
  }
  return tokens;
}

void AddTokenizer(GgufWriter* writer) {
  // "Ġ" stands for the space and "Ċ" for the line feed.
  static constexpr std::pair<const char*, const char*> kMerges[] = {
      {"Ġ", "t"}, {"Ġt", "h"}, {"Ġth", "e"}, {"h", "e"}, {"i", "n"}, {"in", "g"},
      {"Ġ", "a"}, {"Ġa", "n"}, {"Ġan", "d"}, {"l", "l"}, {"o", "r"}, {"Ċ", "Ċ"}};
  std::vector<std::string> tokens = ByteTokens();
  std::vector<std::string> merges;
  for (const auto& [left, right] : kMerges) {
    merges.push_back(std::string(left) + " " + right);
    tokens.push_back(std::string(left) + right);
  }
  std::vector<int32_t> types(tokens.size(), 1);  // normal
  for (const char* special : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    tokens.push_back(special);
    types.push_back(3);  // control
  }
  while (tokens.size() < kTinyVocabSize) {
    tokens.push_back("<|unused_" + std::to_string(tokens.size()) + "|>");
    types.push_back(3);
  }
  writer->AddString("tokenizer.ggml.model", "gpt2");
  writer->AddString("tokenizer.ggml.pre", "smollm");
  writer->AddStrings("tokenizer.ggml.tokens", tokens);
  writer->AddInt32s("tokenizer.ggml.token_type", types);
  writer->AddStrings("tokenizer.ggml.merges", merges);
  writer->AddUint32("tokenizer.ggml.bos_token_id", kTinyEosId);
  writer->AddUint32("tokenizer.ggml.eos_token_id", kTinyImEndId);
  writer->AddUint32("tokenizer.ggml.unknown_token_id", kTinyEosId);
  writer->AddUint32("tokenizer.ggml.padding_token_id", kTinyEosId);
  writer->AddBool("tokenizer.ggml.add_bos_token", false);
  writer->AddString("tokenizer.chat_template", kChatTemplate);
}

void AddConfig(const TinyLlamaOptions& options, GgufWriter* writer) {
  writer->AddString("general.architecture", "llama");
  writer->AddString("general.name", "tiny");
  writer->AddUint32("llama.block_count", options.num_layers);
  writer->AddUint32("llama.context_length", options.context_length);
  writer->AddUint32("llama.embedding_length", options.hidden);
  writer->AddUint32("llama.feed_forward_length", options.ffn);
  writer->AddUint32("llama.attention.head_count", options.num_heads);
  writer->AddUint32("llama.attention.head_count_kv", options.num_kv_heads);
  writer->AddUint32("llama.attention.key_length", options.head_dim);
  writer->AddUint32("llama.attention.value_length", options.head_dim);
  writer->AddFloat("llama.attention.layer_norm_rms_epsilon", options.rms_eps);
  writer->AddUint32("llama.rope.dimension_count", options.head_dim);
  writer->AddFloat("llama.rope.freq_base", options.rope_theta);
  writer->AddUint32("llama.vocab_size", kTinyVocabSize);
  if (options.rope_scaling == TinyRopeScaling::kLinear) {
    writer->AddString("llama.rope.scaling.type", "linear");
    writer->AddFloat("llama.rope.scaling.factor", 4.0f);
  }
}

class TensorWriter {
 public:
  TensorWriter(uint64_t seed, GgufWriter* writer) : random_(seed), writer_(writer) {}

  void AddMatrix(const std::string& name, QuantType type, int num_inputs, int num_outputs,
                 float gain = 1.0f) {
    const float spread = gain / std::sqrt(static_cast<float>(num_inputs));
    Add(name, {static_cast<uint64_t>(num_inputs), static_cast<uint64_t>(num_outputs)}, type,
        RandomBlocks(type, int64_t{num_inputs} * num_outputs, spread, random_.Next()));
  }

  void AddNorm(const std::string& name, int num_values) {
    std::vector<float> values(num_values);
    for (float& value : values) value = 1.0f + 0.1f * random_.NextUnitSpread();
    AddFloats(name, values);
  }

  void AddFloats(const std::string& name, const std::vector<float>& values) {
    Add(name, {values.size()}, QuantType::kF32,
        {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  }

 private:
  void Add(const std::string& name, const std::vector<uint64_t>& dims, QuantType type,
           std::string_view data) {
    writer_->AddTensor(name, dims, static_cast<uint32_t>(type), data);
  }

  SplitMix64 random_;
  GgufWriter* const writer_;
};

void AddLayer(const TinyLlamaOptions& options, int layer_idx, TensorWriter* tensors) {
  const std::string prefix = "blk." + std::to_string(layer_idx) + ".";
  const int query_width = options.num_heads * options.head_dim;
  const int kv_width = options.num_kv_heads * options.head_dim;
  const QuantType type = options.weight_type;
  const QuantType value_type = options.value_type.value_or(type);
  tensors->AddNorm(prefix + "attn_norm.weight", options.hidden);
  // Larger than the other gains, so that attention is far from uniform.
  tensors->AddMatrix(prefix + "attn_q.weight", type, options.hidden, query_width, 2.0f);
  tensors->AddMatrix(prefix + "attn_k.weight", type, options.hidden, kv_width, 2.0f);
  tensors->AddMatrix(prefix + "attn_v.weight", value_type, options.hidden, kv_width);
  tensors->AddMatrix(prefix + "attn_output.weight", type, query_width, options.hidden);
  tensors->AddNorm(prefix + "ffn_norm.weight", options.hidden);
  tensors->AddMatrix(prefix + "ffn_gate.weight", type, options.hidden, options.ffn);
  tensors->AddMatrix(prefix + "ffn_up.weight", type, options.hidden, options.ffn);
  tensors->AddMatrix(prefix + "ffn_down.weight", value_type, options.ffn, options.hidden);
}

}  // namespace

std::string TinyLlamaGguf(const TinyLlamaOptions& options) {
  GgufWriter writer;
  AddConfig(options, &writer);
  if (options.has_tokenizer) AddTokenizer(&writer);

  TensorWriter tensors(options.seed, &writer);
  // A gain of 3 makes logits with a standard deviation of about 3: sampling sees a peaked
  // distribution, and greedy choices have margins well above rounding.
  constexpr float kHeadGain = 3.0f;
  tensors.AddMatrix("token_embd.weight", options.embedding_type, options.hidden, kTinyVocabSize,
                    kHeadGain);
  if (!options.tied_embeddings) {
    tensors.AddMatrix("output.weight", options.embedding_type, options.hidden, kTinyVocabSize,
                      kHeadGain);
  }
  if (options.rope_scaling == TinyRopeScaling::kFrequencyTensor) {
    std::vector<float> factors(options.head_dim / 2);
    for (size_t i = 0; i < factors.size(); ++i) factors[i] = 1.0f + 3.0f * i / factors.size();
    tensors.AddFloats("rope_freqs.weight", factors);
  }
  for (int i = 0; i < options.num_layers; ++i) AddLayer(options, i, &tensors);
  tensors.AddNorm("output_norm.weight", options.hidden);
  return writer.Finish();
}

TinyLlamaFile::TinyLlamaFile(const TinyLlamaOptions& options)
    : path_((std::filesystem::temp_directory_path() / "tiny_llama_XXXXXX.gguf").string()) {
  constexpr int kSuffixBytes = 5;
  const int fd = mkstemps(path_.data(), kSuffixBytes);
  SKV_CHECK(fd >= 0) << "cannot create " << path_;
  const std::string bytes = TinyLlamaGguf(options);
  const ssize_t num_written = write(fd, bytes.data(), bytes.size());
  close(fd);
  SKV_CHECK(num_written == static_cast<ssize_t>(bytes.size())) << "cannot write " << path_;
}

TinyLlamaFile::~TinyLlamaFile() { unlink(path_.c_str()); }

}  // namespace skv::loader
