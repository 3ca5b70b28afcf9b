#include "worker/loader/fingerprint.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/log.h"

namespace skv::loader {
namespace {

// Strings are hashed with their length, so that no two sequences of fields give the same bytes.
class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    SKV_CHECK(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1) << "SHA-256";
  }

  void AddBytes(const void* data, size_t num_bytes) {
    EVP_DigestUpdate(context_.get(), data, num_bytes);
  }
  template <typename T>
  void AddNumber(T value) {
    AddBytes(&value, sizeof(value));
  }
  void AddString(std::string_view text) {
    AddNumber<uint64_t>(text.size());
    AddBytes(text.data(), text.size());
  }

  void AddStrings(const std::vector<std::string>& strings) {
    AddNumber<uint64_t>(strings.size());
    for (const std::string& text : strings) AddString(text);
  }

  Fingerprint Finish() {
    std::array<uint8_t, EVP_MAX_MD_SIZE> digest = {};
    EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr);
    Fingerprint fingerprint;
    std::copy_n(digest.begin(), fingerprint.size(), fingerprint.begin());
    return fingerprint;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

void AddConfig(const LlamaConfig& config, Sha256* sha) {
  for (const int number :
       {config.num_layers, config.hidden, config.num_heads, config.num_kv_heads, config.head_dim,
        config.ffn, config.vocab_size, static_cast<int>(config.rope_scaling.type),
        config.rope_scaling.original_context_length, static_cast<int>(config.tied_embeddings)}) {
    sha->AddNumber<int32_t>(number);
  }
  for (const double number :
       {config.rope_theta, config.rms_eps, config.rope_scaling.factor,
        config.rope_scaling.low_freq_factor, config.rope_scaling.high_freq_factor}) {
    sha->AddNumber<double>(number);
  }
}

}  // namespace

Fingerprint WeightsFingerprint(const GgufFile& file, const LlamaConfig& config) {
  Sha256 sha;
  sha.AddString("skv weights 1");
  AddConfig(config, &sha);
  std::vector<const TensorView*> tensors;
  for (const TensorView& tensor : file.tensors()) tensors.push_back(&tensor);
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorView* a, const TensorView* b) { return a->name < b->name; });
  for (const TensorView* tensor : tensors) {
    sha.AddString(tensor->name);
    sha.AddNumber(static_cast<uint32_t>(tensor->type));
    for (const int64_t dim : tensor->dims) sha.AddNumber(dim);
    sha.AddBytes(tensor->data.data(), tensor->data.size());
    file.DropPages(tensor->data);
  }
  return sha.Finish();
}

Fingerprint ModelFingerprint(const Fingerprint& weights, const text::TokenizerSpec& tokenizer) {
  Sha256 sha;
  sha.AddString("skv model 1");
  sha.AddBytes(weights.data(), weights.size());
  sha.AddString(tokenizer.model);
  sha.AddString(tokenizer.pre);
  sha.AddStrings(tokenizer.tokens);
  sha.AddNumber<uint64_t>(tokenizer.token_types.size());
  for (const int32_t type : tokenizer.token_types) sha.AddNumber(type);
  sha.AddStrings(tokenizer.merges);
  for (const TokenId id :
       {tokenizer.bos_id, tokenizer.eos_id, tokenizer.eot_id, tokenizer.unk_id, tokenizer.pad_id}) {
    sha.AddNumber(id);
  }
  sha.AddNumber<uint8_t>(tokenizer.add_bos);
  sha.AddNumber<uint8_t>(tokenizer.add_space_prefix);
  sha.AddString(tokenizer.chat_template);
  return sha.Finish();
}

std::string ToHex(const Fingerprint& fingerprint) {
  return absl::BytesToHexString(
      {reinterpret_cast<const char*>(fingerprint.data()), fingerprint.size()});
}

}  // namespace skv::loader
