// Every byte string is either refused with a Status or gives a model that can be read to its last
// byte. Seeds: tests/fuzz/write_gguf_corpus.cc; found_*.gguf are the fuzzer's inputs that reached
// new code.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "common/status.h"
#include "text/utf8.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/llama_config.h"
#include "worker/loader/llama_weights.h"
#include "worker/loader/shard_plan.h"
#include "worker/loader/tokenizer_spec_loader.h"

namespace skv::loader {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// A message travels in protobuf strings, so it has to be UTF-8 whatever the file holds.
bool IsOkOrExplained(const absl::Status& status) {
  return status.ok() ||
         (!status.message().empty() && text::ValidateUtf8(StdSv(status.message()), "message").ok());
}

void ReadEveryKey(const GgufMetadata& metadata) {
  for (const auto& [key, value] : metadata.values()) {
    (void)metadata.Uint(key);
    (void)metadata.Float(key);
    (void)metadata.BoolOr(key, false);
    (void)metadata.Int32s(key);
    const auto strings = metadata.Strings(key);
    Require(!strings.ok() || strings->size() == value.count);
    const auto text = metadata.String(key);
    if (text.ok()) Require(Printable(*text).size() <= 4 * 80 + 3);
  }
}

void ReadEveryTensor(const GgufFile& file, std::span<const std::byte> bytes) {
  for (const TensorView& tensor : file.tensors()) {
    Require(file.FindTensor(tensor.name) == &tensor);
    Require(static_cast<uint64_t>(tensor.row_bytes()) * tensor.num_rows() == tensor.data.size());
    Require(tensor.data.data() >= bytes.data() &&
            tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
    std::vector<float> row(tensor.dims[0]);
    kernels::DequantizeRow(tensor.type, tensor.data.data(), tensor.dims[0], row.data());
  }
}

void ReadModel(const GgufFile& file) {
  const absl::StatusOr<LlamaConfig> config = ReadLlamaConfig(file);
  Require(IsOkOrExplained(config.status()));
  if (!config.ok()) return;
  const absl::StatusOr<LlamaTensors> tensors = FindLlamaTensors(file, *config);
  Require(IsOkOrExplained(tensors.status()));
  if (!tensors.ok()) return;
  std::vector<float> divisors;
  if (tensors->rope_freqs) divisors = ReadFloats(*tensors->rope_freqs);
  Require(RopeFrequencies(*config, divisors).size() * 2 == static_cast<size_t>(config->head_dim));
  for (int world_size = 1; world_size <= 4; ++world_size) {
    int heads_end = 0, ffn_end = 0, vocab_end = 0;
    for (int rank = 0; rank < world_size; ++rank) {
      const absl::StatusOr<ShardPlan> plan = MakeShardPlan(*config, *tensors, world_size, rank);
      if (!plan.ok()) return;
      Require(plan->heads.begin == heads_end && plan->heads.size() > 0);
      Require(plan->ffn.begin == ffn_end && plan->ffn.size() > 0);
      Require(plan->vocab.begin == vocab_end && plan->vocab.size() > 0);
      heads_end = plan->heads.end;
      ffn_end = plan->ffn.end;
      vocab_end = plan->vocab.end;
    }
    Require(heads_end == config->num_heads && ffn_end == config->ffn);
    Require(vocab_end == config->vocab_size);
  }
}

}  // namespace
}  // namespace skv::loader

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto file = skv::loader::GgufFile::Parse(bytes, "fuzz.gguf");
  skv::loader::Require(skv::loader::IsOkOrExplained(file.status()));
  if (!file.ok()) return 0;
  skv::loader::ReadEveryKey((*file)->metadata());
  skv::loader::ReadEveryTensor(**file, bytes);
  skv::loader::ReadModel(**file);
  const auto spec = skv::loader::ReadTokenizerSpec(**file);
  skv::loader::Require(skv::loader::IsOkOrExplained(spec.status()));
  return 0;
}
