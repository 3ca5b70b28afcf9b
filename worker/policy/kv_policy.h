#pragma once
// Which entries of a sequence's KV a query attends: the state of one sequence's KV policy on one
// rank. Prompt positions always get exact causal attention; a policy watches them and speaks for
// the generated positions, per layer and KV head. What it selects depends on the request's
// parameters and on the tokens, keys and queries up to the query's own position, never on how
// positions are cut into steps (docs/arithmetic.md).
//
// A policy that evicts never attends a position again that it has once left out; others may bring
// any position back. Either way the cache keeps every entry: what is not attended is not read, but
// its memory is not freed.
//
// The model calls it, layer by layer, after the keys and values of a step's rows are in the cache.
// Calls for different (layer, kv_head) may run at once on several threads; those for one
// (layer, kv_head) come one at a time, in order of position, each position once. Prompt positions
// that were cached before the sequence began are left out: not their keys, but their queries are
// lost, so that only those before the last PromptQueries may be.

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/policy/policy_params.h"
#include "worker/policy/sentence.h"

namespace skv::policy {

// Positions [begin, end).
struct PositionRange {
  int begin;
  int end;
  bool operator==(const PositionRange&) const = default;
};

// Reads what the cache holds of one layer and KV head, as it was stored (rounded to the KV type,
// keys rotated).
class KvReader {
 public:
  virtual ~KvReader() = default;
  // Positions [begin, end), all of them written: `rows` receives [end - begin, head_dim].
  virtual void ReadKeys(int begin, int end, float* rows) const = 0;
  virtual void ReadValues(int begin, int end, float* rows) const = 0;
  // scores[r, i] = query r . key of the i-th position of `ranges`, in float32; counts as reading
  // these keys, and is faster.
  //   queries [num_queries, head_dim]
  //   ranges  sorted and disjoint, all positions written
  //   scores  [num_queries, positions], score_stride in floats
  virtual void ScoreKeys(const float* queries, int num_queries,
                         std::span<const PositionRange> ranges, float* scores,
                         int64_t score_stride) const = 0;
  // The policy has read so many bytes of sketches of keys (kernels/key_sketch.h), which it keeps
  // itself: they count as read.
  virtual void CountSketchBytes(int64_t bytes) const = 0;
};

// What a sequence looks like to its policy.
struct SequenceShape {
  int num_layers;
  int num_kv_heads;  // of this rank
  int group_size;    // query heads a KV head
  int head_dim;
  int num_prompt_tokens;
};

// Where in the model a call is.
struct HeadView {
  int layer;
  int kv_head;  // of this rank
  const KvReader* kv;
};

// Rotated float32 queries of consecutive positions: head h of the group at
// data + row * stride + h * head_dim.
struct QueryRows {
  const float* data;
  int64_t stride;
  int first_position;
  int num_rows;
};

class KvPolicy {
 public:
  virtual ~KvPolicy() = default;

  // True when every query attends everything: the model then asks nothing.
  virtual bool attends_all() const { return false; }

  // The prompt positions of `queries` are computed for this layer and KV head. The first call
  // begins at num_prompt_tokens - PromptQueries or before: what lies before it is written, and
  // `sentences` has what its tokens prove. Selections and memory are as if it had begun at 0.
  virtual void OnPrompt(const HeadView& view, const QueryRows& queries) = 0;

  // Appends what the generated position attends: ranges that are sorted, disjoint and not empty,
  // and end at `position` + 1. `query` is one row. All positions when they are within the budget,
  // else as many as the budget says, unless the policy's header says otherwise.
  virtual void Select(const HeadView& view, const QueryRows& query,
                      std::vector<PositionRange>* attended) = 0;

  // A second sequence with the same prompt, as this one was when its prompt ended; it may have
  // generated since. `sentences` are the new sequence's own.
  // REQUIRES: OnPrompt has come to the prompt's end in every layer and KV head.
  virtual std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>* sentences) const = 0;

  // Memory of the policy's own state beside the KV: its index, and what it knows of queries.
  virtual size_t index_bytes() const = 0;
  // Memory of its sketches of keys. They stay on the host, as keys do, and a selection reads some
  // of them there: they are no part of the index.
  virtual size_t sketch_bytes() const { return 0; }
};

// What each policy of worker/policy/policy_list.h defines. REQUIRES: Validate(params).ok()
using PolicyCreator = std::unique_ptr<KvPolicy>(const PolicyParams& params,
                                                const SequenceShape& shape,
                                                const std::vector<Sentence>* sentences);

// The policy of one sequence. `sentences` outlives it and grows as the sequence does; before a step
// runs it holds all that its tokens prove. Errors: those of Validate.
absl::StatusOr<std::unique_ptr<KvPolicy>> CreatePolicy(const PolicyParams& params,
                                                       const SequenceShape& shape,
                                                       const std::vector<Sentence>* sentences);

// How many of a prompt's last queries a policy learns from: each policy of the list names its own.
// REQUIRES: Validate(params).ok()
using PromptQueryCount = int(const PolicyParams& params, int num_prompt_tokens);
PromptQueryCount NoQueries, AllQueries;

// The positions at the end of a prompt that OnPrompt has to be called for. The last one, whose
// logits the sequence goes on from, is always among them.
// REQUIRES: Validate(params).ok(), num_prompt_tokens >= 1
int PromptQueries(const PolicyParams& params, int num_prompt_tokens);

}  // namespace skv::policy
