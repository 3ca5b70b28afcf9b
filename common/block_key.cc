#include "common/block_key.h"

#include <openssl/evp.h>

#include <algorithm>
#include <bit>
#include <memory>

#include "absl/strings/escaping.h"
#include "common/log.h"

namespace skv {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are hashed as they lie");

class Hasher {
 public:
  explicit Hasher(std::string_view kind) : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    SKV_CHECK(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1) << "SHA-256";
    AddField(kind);
  }

  void AddField(std::string_view field) { AddField(field.data(), field.size()); }
  void AddField(const void* data, uint64_t num_bytes) {
    EVP_DigestUpdate(context_.get(), &num_bytes, sizeof(num_bytes));
    EVP_DigestUpdate(context_.get(), data, num_bytes);
  }

  template <typename Digest>
  Digest Finish() {
    std::array<uint8_t, EVP_MAX_MD_SIZE> sha;
    EVP_DigestFinal_ex(context_.get(), sha.data(), nullptr);
    Digest digest;
    std::copy_n(sha.begin(), digest.bytes.size(), digest.bytes.begin());
    return digest;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::string Hex(const std::array<uint8_t, 16>& bytes) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace

std::string ToHex(const PrefixKey& key) { return Hex(key.bytes); }
std::string ToHex(const LayoutId& id) { return Hex(id.bytes); }

PrefixKey RootKey(const RootFields& fields) {
  Hasher hasher("skv root 1");
  for (const std::string_view field :
       {fields.tenant_salt, fields.model_name, fields.model_revision, fields.segmenter_id}) {
    hasher.AddField(field);
  }
  return hasher.Finish<PrefixKey>();
}

PrefixKey ChildKey(const PrefixKey& parent, std::span<const TokenId> tokens) {
  Hasher hasher("skv prefix 1");
  hasher.AddField(parent.bytes.data(), parent.bytes.size());
  hasher.AddField(tokens.data(), tokens.size_bytes());
  return hasher.Finish<PrefixKey>();
}

std::vector<PrefixKey> PrefixKeys(const PrefixKey& root, std::span<const TokenId> tokens,
                                  std::span<const int> sentence_ends) {
  std::vector<PrefixKey> keys;
  keys.reserve(sentence_ends.size());
  int begin = 0;
  for (const int end : sentence_ends) {
    SKV_CHECK(end > begin && static_cast<size_t>(end) <= tokens.size())
        << "sentence from " << begin << " to " << end << " of " << tokens.size() << " tokens";
    keys.push_back(ChildKey(keys.empty() ? root : keys.back(), tokens.subspan(begin, end - begin)));
    begin = end;
  }
  return keys;
}

LayoutId MakeLayoutId(const LayoutFields& fields) {
  Hasher hasher("skv layout 1");
  const std::string group_size = std::to_string(fields.group_size);
  const std::pair<std::string_view, std::string_view> kFields[] = {
      {"weights_fingerprint", fields.weights_fingerprint},
      {"adapter", fields.adapter},
      {"kv_type", fields.kv_type},
      {"key_rotation", fields.key_rotation},
      {"rope", fields.rope},
      {"numerics_id", fields.numerics_id},
      {"group_size", group_size},
      {"prefill_kind", fields.prefill_kind}};
  for (const auto& [name, value] : kFields) {
    hasher.AddField(name);
    hasher.AddField(value);
  }
  return hasher.Finish<LayoutId>();
}

}  // namespace skv
