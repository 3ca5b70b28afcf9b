#pragma once
// Names of sentence blocks. Equal names mean equal contents, on whichever host they were computed,
// so every process that shares blocks (workers, kvstores, routers) computes them here and only
// here.
//
//   root   = H("root", tenant salt, model name, model revision, segmenter id)
//   prefix = H("prefix", key of the parent, token ids of the sentence)
//   layout = H("layout", name and value of each field)
//
// H is SHA-256, cut to its first 128 bits. Every field is hashed behind its length, and the kind of
// the name comes first, so that no two inputs give the same bytes. The keys of a prompt form a
// chain: a key stands for all tokens up to its sentence's end. All functions are thread-safe.

#include <array>
#include <climits>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/types.h"

namespace skv {

// 128 bits of a hash. `Kind` keeps names of different kinds apart.
template <typename Kind>
struct Digest128 {
  std::array<uint8_t, 16> bytes = {};

  auto operator<=>(const Digest128&) const = default;  // NOLINT(modernize-use-nullptr)
  template <typename H>
  friend H AbslHashValue(H state, const Digest128& digest) {
    return H::combine(std::move(state), digest.bytes);
  }
};

// The tokens from the beginning to a sentence's end, of one tenant, model and segmenter. What
// routers and look-ups of prefixes use.
using PrefixKey = Digest128<struct PrefixKeyKind>;
// Everything beside the tokens that the bytes of a block depend on.
using LayoutId = Digest128<struct LayoutIdKind>;

// The block of one rank of a group.
struct BlockId {
  PrefixKey prefix;
  LayoutId layout;
  int rank = 0;

  auto operator<=>(const BlockId&) const = default;
  template <typename H>
  friend H AbslHashValue(H state, const BlockId& id) {
    return H::combine(std::move(state), id.prefix, id.layout, id.rank);
  }
};

// 32 hexadecimal digits.
std::string ToHex(const PrefixKey& key);
std::string ToHex(const LayoutId& id);

// What the chains of one tenant and model start from. Tenants with different salts share nothing.
struct RootFields {
  std::string_view tenant_salt;  // empty: shared by all who give none
  std::string_view model_name;
  std::string_view model_revision;
  std::string_view segmenter_id;
};
PrefixKey RootKey(const RootFields& fields);

// The key of the sentence `tokens` after the prefix `parent`: a root, or another sentence's key.
PrefixKey ChildKey(const PrefixKey& parent, std::span<const TokenId> tokens);

// The key of each sentence of `tokens`, in order; the sentences end before the indices
// `sentence_ends`, and tokens after the last one have no key.
// REQUIRES: sentence_ends ascend strictly, the first above 0, the last at most tokens.size().
std::vector<PrefixKey> PrefixKeys(const PrefixKey& root, std::span<const TokenId> tokens,
                                  std::span<const int> sentence_ends);

// The sentences of one prompt, in order: what a cache has of it is a number of them from the first
// on.
struct PrefixChain {
  std::vector<PrefixKey> keys;
  std::vector<int> ends;  // tokens up to the end of each; as many as keys, ascending
  // The prompt's own request computes all behind them: what its policy learns from, and the last
  // token. A longer prompt may take more.
  int max_cached_tokens = INT_MAX;
};

struct LayoutFields {
  std::string_view weights_fingerprint;  // of the model's weights and configuration
  std::string_view adapter;              // empty: none
  std::string_view kv_type;              // element type of keys and values: "bf16"
  std::string_view key_rotation;         // whether keys are stored rotated by their position
  std::string_view rope;                 // frequencies and scaling of that rotation
  std::string_view numerics_id;          // of the backend (docs/arithmetic.md)
  int group_size = 1;                    // ranks that the KV heads are divided among
  std::string_view prefill_kind;         // how prompt rows attend: "exact"
};
LayoutId MakeLayoutId(const LayoutFields& fields);

}  // namespace skv
