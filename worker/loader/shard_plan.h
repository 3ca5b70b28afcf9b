#pragma once
// Which part of each matrix belongs to which tensor-parallel rank. QKV, gate, up and the vocabulary
// are split by outputs, attention output and down by inputs, so that a layer needs one sum after
// each of the latter two. Inputs are cut only between segments, which are the same for every number
// of ranks: then so are the bits of those sums (docs/arithmetic.md).

#include <cstddef>

#include "absl/status/statusor.h"
#include "worker/loader/llama_config.h"
#include "worker/loader/llama_weights.h"

namespace skv::loader {

struct Range {
  int begin = 0, end = 0;
  int size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

// Rows (outputs) and columns (inputs) of a matrix in the file.
struct TensorSlice {
  int output_begin, output_end, input_begin, input_end;
  int num_outputs() const { return output_end - output_begin; }
  int num_inputs() const { return input_end - input_begin; }
};

// One rank's share. Together the ranks' ranges cover everything once, in rank order, none empty.
struct ShardPlan {
  int world_size = 1;
  int rank = 0;
  Range kv_heads;  // as even as possible, the first ranks have one more; 3 over 2 ranks is 2 and 1
  Range heads;     // query heads: those of kv_heads
  Range ffn;       // in whole segments; evens out the weight bytes that the heads leave uneven
  Range vocab;     // in multiples of 16; the last rank has the rest

  int attn_output_segment;  // inputs: those of one KV head, or of so many as end a block
  int ffn_segment;          // 128 inputs of ffn_down, or a larger block's

  TensorSlice attn_q;       // of attn_q
  TensorSlice attn_kv;      // of attn_k and attn_v
  TensorSlice attn_output;  // begins with a segment
  TensorSlice ffn_gate_up;  // of ffn_gate and ffn_up
  TensorSlice ffn_down;     // begins with a segment
  TensorSlice output;       // of output and token_embd
};

// Deterministic: every rank computes the same split. InvalidArgument, naming the flag to change
// (--tp): world_size below 1 or more than can be given a share, be it for lack of KV heads or
// because a segment is not cut; rank outside the group.
absl::StatusOr<ShardPlan> MakeShardPlan(const LlamaConfig& config, const LlamaTensors& tensors,
                                        int world_size, int rank);

// Where row slice.output_begin begins at column slice.input_begin; rows are tensor.row_bytes()
// apart. REQUIRES: input_begin is a multiple of the type's block elements.
const std::byte* SliceData(const TensorView& tensor, const TensorSlice& slice);

}  // namespace skv::loader
