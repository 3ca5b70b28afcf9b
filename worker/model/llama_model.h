#pragma once
// The Llama forward pass of one rank: norm, qkv, rope, attend, project, mlp (arXiv 2302.13971), as
// tensor-parallel shards that meet in two all-reduces a layer.
//   hidden H, layers L, heads Hq over Hkv KV heads of size D; a rank holds hq, hkv heads, f FFN
//   columns and v vocabulary rows of its ShardPlan.
// Engine thread only.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/kv_run.h"
#include "common/types.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/kv/kv_layout.h"
#include "worker/kv/sequence_cache.h"
#include "worker/kv/working_set.h"
#include "worker/loader/llama_config.h"
#include "worker/loader/llama_weights.h"
#include "worker/loader/shard_plan.h"
#include "worker/policy/kv_policy.h"
#include "worker/policy/kv_use.h"

namespace skv::model {

// Consecutive rows of a batch that belong to one sequence and one position class.
struct SequenceRows {
  kv::SequenceCache* cache;  // positions up to first_position + num_rows are reserved
  policy::KvPolicy* policy;
  policy::KvUse* use;  // what generated rows read is added to it
  int first_position;
  int num_rows;
  bool generated;  // attends by the policy; prompt rows attend everything before them
  // Where the last row, if generated, reads what it selects, unless that is more than it can hold;
  // the other rows, and all without one, read the cache in place.
  kv::WorkingSet* working_set = nullptr;
};

struct ForwardBatch {
  std::span<const TokenId> tokens;          // one a row
  std::span<const SequenceRows> sequences;  // in row order, covering all rows
  std::span<const int> logit_rows;          // rows whose logits are wanted, ascending
};

class LlamaModel {
 public:
  struct Options {
    int max_rows;       // largest batch
    int max_positions;  // longest sequence
  };
  // Loads this rank's shard of `tensors` into the backend. Backend and communicator outlive the
  // model; the tensors' file may be closed afterwards.
  static absl::StatusOr<std::unique_ptr<LlamaModel>> Load(const loader::LlamaConfig& config,
                                                          const loader::LlamaTensors& tensors,
                                                          const loader::ShardPlan& plan,
                                                          const Options& options,
                                                          backend::Backend* backend,
                                                          comm::Communicator* communicator);
  ~LlamaModel();

  // Runs one batch: writes its keys and values into the caches and, on rank 0, the wanted logits to
  // `logits` [logit_rows.size(), vocab_size] (resized). All ranks call it with equal batches.
  // Aborted: a collective failed and the group must end.
  absl::Status Forward(const ForwardBatch& batch, std::vector<float>* logits);

  // `beat` runs after each layer of a forward pass: a long step on a slow machine still shows life.
  void OnProgress(std::function<void()> beat) { beat_ = std::move(beat); }

  kv::KvLayout kv_layout() const;
  policy::SequenceShape sequence_shape(int num_prompt_tokens) const;
  size_t weight_bytes() const { return weight_bytes_; }
  // Layers times KV heads of all ranks.
  int num_heads_of_group() const { return config_.num_layers * config_.num_kv_heads; }

 private:
  struct Layer;
  // The rows of one sequence, asked of its policy for one KV head.
  struct PolicyCall {
    const SequenceRows* rows;
    int head;
    int first_row;        // of the batch
    size_t first_choice;  // into choices_, one a row
  };
  // What one generated row attends in one KV head.
  struct Choice {
    std::vector<policy::PositionRange> attended;
    std::vector<KvRun> runs;  // where these lie: in the cache or in the working set
    int64_t scanned, scanned_beside, sketch_bytes;  // KvUse

    int num_attended() const {
      int count = 0;
      for (const KvRun& run : runs) count += run.num_rows;
      return count;
    }
  };

  LlamaModel(const loader::LlamaConfig& config, const loader::ShardPlan& plan,
             const Options& options, backend::Backend* backend, comm::Communicator* communicator);
  absl::Status LoadWeights(const loader::LlamaTensors& tensors);
  absl::Status LoadRopeTable(const loader::LlamaTensors& tensors);
  absl::Status AllocateActivations();

  // llama_selection.cc: the policies see this batch's prompt rows and choose for its generated
  // ones.
  void PlanPolicyCalls(const ForwardBatch& batch);
  void ShowPrompts(int layer, backend::Rows q);
  // The tasks of the call's rows.
  std::span<const backend::AttentionTask> Select(const PolicyCall& call, int layer,
                                                 backend::Rows q);
  void CountSelected();
  // Brings what `choice` attends to the working set, if there is one with room, and says where it
  // is.
  void FindRuns(const SequenceRows& rows, int layer, int head, bool last_row, Choice* choice) const;
  policy::QueryRows QueriesOf(const PolicyCall& call, int row, backend::Rows q) const;

  // llama_batch.cc: this batch's positions, KV rows and attention tasks.
  void PlanBatch(const ForwardBatch& batch);
  void FindTargets(const ForwardBatch& batch, int layer);
  void AppendExactTasks(const ForwardBatch& batch, int layer);
  void AppendExactTask(const SequenceRows& rows, int layer, int head, int first_row);

  absl::Status Embed(std::span<const TokenId> tokens);
  absl::Status AttentionBlock(const ForwardBatch& batch, int layer);
  absl::Status MlpBlock(int layer);
  absl::Status Logits(const ForwardBatch& batch, std::vector<float>* logits);
  absl::Status GatherLogits(int num_wanted, std::vector<float>* logits);
  // Adds this rank's product with all others' to the residual stream.
  absl::Status AddProduct(const backend::Matrix& w, int segment_inputs, backend::Rows x);
  backend::AttentionShape AttentionShape() const;
  // Width of a qkv row: this rank's query, key and value heads side by side.
  int QkvWidth() const {
    return (plan_.heads.size() + 2 * plan_.kv_heads.size()) * config_.head_dim;
  }
  backend::Rows RowsOf(backend::Buffer& buffer, int width) const;

  const loader::LlamaConfig config_;
  const loader::ShardPlan plan_;
  const Options options_;
  backend::Backend* const backend_;
  comm::Communicator* const communicator_;
  std::function<void()> beat_ = [] {};

  std::unique_ptr<backend::Matrix> embedding_;  // [v, H]: this rank's rows, also the head when tied
  std::unique_ptr<backend::Matrix> head_;       // [v, H], null when tied
  std::unique_ptr<backend::Buffer> output_norm_, rope_table_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<loader::Range> vocab_of_ranks_;
  size_t weight_bytes_ = 0;

  // Activations, max_rows rows each.
  std::unique_ptr<backend::Buffer> hidden_;    // [H] the residual stream
  std::unique_ptr<backend::Buffer> normed_;    // [H] input of the products
  std::unique_ptr<backend::Buffer> qkv_;       // [(hq + 2 hkv) D]
  std::unique_ptr<backend::Buffer> attended_;  // [hq D]
  std::unique_ptr<backend::Buffer> gate_up_;   // [2 f]
  std::unique_ptr<backend::Buffer> totals_;    // [H] double: products that ranks add up
  std::vector<float> logit_shard_, gathered_;

  // This batch.
  int num_rows_ = 0;
  std::vector<int32_t> positions_;
  std::vector<backend::KvTarget> targets_;
  std::vector<backend::AttentionTask> tasks_;  // of rows that attend all they see
  std::vector<KvRun> runs_;
  std::vector<size_t> task_run_begin_;  // of each task, in runs_
  std::vector<PolicyCall> prompt_calls_, select_calls_;
  // In order of the select calls' rows.
  std::vector<Choice> choices_;
  std::vector<backend::AttentionTask> selected_tasks_;
};

}  // namespace skv::model
