#pragma once
// Where a token's keys and values lie inside a container (a block or a slot page):
//   [layer][kv_head][K: capacity x head_dim | V: capacity x head_dim]
// for the layers and KV heads of one rank. Rows are multiples of 64 bytes.

#include <cstddef>

namespace skv::kv {

struct KvLayout {
  int num_layers;
  int num_kv_heads;  // of this rank
  int head_dim;
  int element_bytes;  // 2: bf16 (cpu), 4: float32 (ref)

  // KV heads of the rank, all layers together.
  int NumHeads() const { return num_layers * num_kv_heads; }
  size_t RowBytes() const { return static_cast<size_t>(head_dim) * element_bytes; }
  // Bytes of one token: K and V of every layer and KV head of the rank.
  size_t TokenBytes() const { return 2 * RowBytes() * num_kv_heads * num_layers; }
  // Offsets of row 0 of K and V in a container with room for `capacity` tokens.
  size_t KeyOffset(int layer, int kv_head, int capacity) const {
    return 2 * RowBytes() * capacity * (static_cast<size_t>(layer) * num_kv_heads + kv_head);
  }
  size_t ValueOffset(int layer, int kv_head, int capacity) const {
    return KeyOffset(layer, kv_head, capacity) + RowBytes() * capacity;
  }
};

}  // namespace skv::kv
