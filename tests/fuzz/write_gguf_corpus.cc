// Writes the seeds of the GGUF fuzzer: write_gguf_corpus tests/fuzz/corpus/gguf

#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "worker/loader/testing/gguf_writer.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::loader {
namespace {

using kernels::QuantType;

TinyLlamaOptions Smallest() {
  TinyLlamaOptions options;
  options.num_layers = 1;
  options.hidden = options.ffn = 32;
  options.num_heads = 2;
  options.num_kv_heads = 1;
  options.embedding_type = QuantType::kQ4_0;
  return options;
}

std::string WithoutTokenizer() {
  TinyLlamaOptions options = Smallest();
  options.has_tokenizer = false;
  options.rope_scaling = TinyRopeScaling::kFrequencyTensor;
  options.weight_type = QuantType::kQ5_1;
  return TinyLlamaGguf(options);
}

std::string Untied() {
  TinyLlamaOptions options = Smallest();
  options.tied_embeddings = false;
  options.rope_scaling = TinyRopeScaling::kLinear;
  options.weight_type = QuantType::kQ8_0;
  return TinyLlamaGguf(options);
}

// A tensor of one row for every type, and a value of every type.
std::string EveryType() {
  GgufWriter writer;
  const std::string bytes(8, '\1');
  for (uint32_t type = 0; type <= 12; ++type) {
    const auto value_type = static_cast<GgufType>(type);
    if (GgufTypeBytes(value_type) == 0) continue;
    const std::string value = bytes.substr(0, GgufTypeBytes(value_type));
    writer.AddRaw(std::string("scalar.") + GgufTypeName(value_type), type, value);
    std::string array;
    GgufWriter::Append(&array, type);
    GgufWriter::Append(&array, uint64_t{2});
    writer.AddRaw(std::string("array.") + GgufTypeName(value_type), 9, array + value + value);
  }
  writer.AddString("string", "text");
  writer.AddStrings("strings", {"", "a", "bc"});
  writer.AddUint32("general.alignment", 32);
  for (uint32_t type = 0; type < 64; ++type) {
    if (!kernels::IsKnownQuantType(type)) continue;
    const auto quant_type = static_cast<QuantType>(type);
    const int num_elements = kernels::BlockElements(quant_type);
    writer.AddTensor(kernels::QuantTypeName(quant_type), {static_cast<uint64_t>(num_elements), 1},
                     type, RandomBlocks(quant_type, num_elements, 1.0f, type));
  }
  return writer.Finish();
}

// Two layers' worth of configuration in all its optional keys, too few tensors.
std::string Llama3Config() {
  GgufWriter writer;
  writer.AddString("general.architecture", "llama");
  for (const char* key : {"block_count", "context_length", "embedding_length",
                          "feed_forward_length", "attention.head_count", "attention.head_count_kv",
                          "attention.key_length", "attention.value_length", "rope.dimension_count",
                          "vocab_size", "rope.scaling.original_context_length"}) {
    writer.AddUint32(std::string("llama.") + key, 2);
  }
  writer.AddString("llama.rope.scaling.type", "llama3");
  writer.AddFloat("llama.rope.scaling.factor", 8.0f);
  writer.AddFloat("llama.rope.scaling.low_freq_factor", 1.0f);
  writer.AddFloat("llama.rope.scaling.high_freq_factor", 4.0f);
  writer.AddFloat("llama.rope.freq_base", 500000.0f);
  writer.AddFloat("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.AddTensor("token_embd.weight", {2, 2}, 0, std::string(16, '\0'));
  writer.AddTensor("output_norm.weight", {2}, 1, std::string(4, '\0'));
  return writer.Finish(2);
}

}  // namespace
}  // namespace skv::loader

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " FOLDER\n";
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  std::filesystem::create_directories(folder);
  const std::pair<const char*, std::string> seeds[] = {
      {"tiny.gguf", skv::loader::TinyLlamaGguf(skv::loader::Smallest())},
      {"without_tokenizer.gguf", skv::loader::WithoutTokenizer()},
      {"untied.gguf", skv::loader::Untied()},
      {"every_type.gguf", skv::loader::EveryType()},
      {"llama3_config.gguf", skv::loader::Llama3Config()},
      {"empty.gguf", skv::loader::GgufWriter().Finish()}};
  for (const auto& [name, bytes] : seeds) {
    std::ofstream file(folder / name, std::ios::binary);
    if (!(file << bytes)) {
      std::cerr << (folder / name).string() << ": cannot be written\n";
      return 1;
    }
  }
  return 0;
}
