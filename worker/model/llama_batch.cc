// How a batch maps to positions, KV rows and attention tasks.

#include <algorithm>

#include "worker/model/llama_model.h"

namespace skv::model {

void LlamaModel::PlanBatch(const ForwardBatch& batch) {
  num_rows_ = static_cast<int>(batch.tokens.size());
  positions_.clear();
  for (const SequenceRows& rows : batch.sequences) {
    for (int i = 0; i < rows.num_rows; ++i) positions_.push_back(rows.first_position + i);
    if (rows.generated) rows.use->positions += rows.num_rows;
  }
}

backend::AttentionShape LlamaModel::AttentionShape() const {
  return {.num_kv_heads = plan_.kv_heads.size(),
          .group_size = config_.num_heads / config_.num_kv_heads,
          .head_dim = config_.head_dim};
}

void LlamaModel::FindTargets(const ForwardBatch& batch, int layer) {
  targets_.clear();
  for (const SequenceRows& rows : batch.sequences) {
    for (int i = 0; i < rows.num_rows; ++i) {
      for (int head = 0; head < plan_.kv_heads.size(); ++head) {
        const kv::RowPointers row = rows.cache->Row(layer, head, rows.first_position + i);
        targets_.push_back({row.k, row.v});
      }
    }
  }
}

void LlamaModel::AppendExactTasks(const ForwardBatch& batch, int layer) {
  tasks_.clear();
  runs_.clear();
  task_run_begin_.clear();
  int row = 0;
  for (const SequenceRows& rows : batch.sequences) {
    if (!rows.generated || rows.policy->attends_all()) {
      for (int head = 0; head < plan_.kv_heads.size(); ++head) {
        AppendExactTask(rows, layer, head, row);
      }
    }
    row += rows.num_rows;
  }
  // Only now is runs_ in its final place.
  for (size_t i = 0; i < tasks_.size(); ++i) tasks_[i].runs = runs_.data() + task_run_begin_[i];
}

void LlamaModel::AppendExactTask(const SequenceRows& rows, int layer, int head, int first_row) {
  task_run_begin_.push_back(runs_.size());
  rows.cache->AppendRuns(layer, head, 0, rows.first_position + rows.num_rows, &runs_);
  if (rows.generated) {
    const int64_t entries =
        rows.num_rows * (2 * int64_t{rows.first_position} + rows.num_rows + 1) / 2;
    *rows.use += {.attended = entries, .visible = entries};
  }
  tasks_.push_back({.kv_head = head,
                    .query_row = first_row,
                    .num_queries = rows.num_rows,
                    .first_visible = rows.first_position + 1,
                    .runs = nullptr,
                    .num_runs = static_cast<int>(runs_.size() - task_run_begin_.back())});
}

}  // namespace skv::model
