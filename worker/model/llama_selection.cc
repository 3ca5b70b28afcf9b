// The policies' part of an attention block.

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "worker/model/llama_model.h"
#include "worker/policy/position_ranges.h"

namespace skv::model {
namespace {

// Reads one layer and KV head of a sequence: from the cache, but keys to be scored from slots of
// the working set (may be null) where these hold them.
class CacheReader : public policy::KvReader {
 public:
  CacheReader(const backend::Backend& backend, const kv::SequenceCache& cache,
              const kv::WorkingSet* working_set, int layer, int head, int head_dim)
      : backend_(backend),
        cache_(cache),
        working_set_(working_set),
        layer_(layer),
        head_(head),
        head_dim_(head_dim) {
    keys_in_place_.clear();
  }

  void ReadKeys(int begin, int end, float* rows) const override {
    keys_in_place_.push_back({begin, end});
    Read(begin, end, &KvRun::k, rows);
  }
  void ReadValues(int begin, int end, float* rows) const override {
    num_values_read_ += end - begin;
    Read(begin, end, &KvRun::v, rows);
  }
  void ScoreKeys(const float* queries, int num_queries,
                 std::span<const policy::PositionRange> ranges, float* scores,
                 int64_t score_stride) const override {
    thread_local std::vector<KvRun> runs;
    runs.clear();
    for (const policy::PositionRange& range : ranges) {
      num_read_ += range.end - range.begin;
      AppendRuns(range, &runs);
    }
    backend_.ScoreKeys(head_dim_, runs, queries, num_queries, scores, score_stride);
  }

  void CountSketchBytes(int64_t bytes) const override { sketch_bytes_ += bytes; }

  // What was read since the last call, as KvUse counts it for a row that attends `attended`.
  int64_t TakeNumRead() { return std::exchange(num_read_, 0); }
  int64_t TakeSketchBytes() { return std::exchange(sketch_bytes_, 0); }
  int64_t TakeNumBeside(std::span<const policy::PositionRange> attended) {
    std::ranges::sort(keys_in_place_, {}, &policy::PositionRange::begin);
    const int64_t count =
        policy::NumOutside(keys_in_place_, attended) + std::exchange(num_values_read_, 0);
    keys_in_place_.clear();
    return count;
  }

 private:
  // A thread has one reader at a time: nothing is allocated.
  static std::vector<policy::PositionRange>& ThreadRanges() {
    thread_local std::vector<policy::PositionRange> ranges;
    return ranges;
  }

  void AppendRuns(policy::PositionRange range, std::vector<KvRun>* runs) const {
    if (working_set_ == nullptr) {
      keys_in_place_.push_back(range);
      cache_.AppendRuns(layer_, head_, range.begin, range.end, runs);
      return;
    }
    working_set_->AppendHeldOrCached(layer_, head_, range.begin, range.end, cache_, runs,
                                     [&](int begin, int end) {
                                       keys_in_place_.push_back({begin, end});
                                     });
  }

  void Read(int begin, int end, const std::byte* KvRun::*part, float* rows) const {
    num_read_ += end - begin;
    thread_local std::vector<KvRun> runs;
    runs.clear();
    cache_.AppendRuns(layer_, head_, begin, end, &runs);
    for (const KvRun& run : runs) {
      const int64_t count = int64_t{run.num_rows} * head_dim_;
      backend_.LoadKv(run.*part, count, rows);
      rows += count;
    }
  }

  const backend::Backend& backend_;
  const kv::SequenceCache& cache_;
  const kv::WorkingSet* const working_set_;
  const int layer_, head_, head_dim_;
  mutable int64_t num_read_ = 0, num_values_read_ = 0, sketch_bytes_ = 0;
  std::vector<policy::PositionRange>& keys_in_place_ = ThreadRanges();
};

// Every position of `ranges`, for as long as this thread does not ask again.
std::span<const int> Positions(std::span<const policy::PositionRange> ranges) {
  thread_local std::vector<int> positions;
  positions.clear();
  for (const policy::PositionRange& range : ranges) {
    for (int position = range.begin; position < range.end; ++position)
      positions.push_back(position);
  }
  return positions;
}

}  // namespace

void LlamaModel::PlanPolicyCalls(const ForwardBatch& batch) {
  prompt_calls_.clear();
  select_calls_.clear();
  size_t num_choices = 0;
  int row = 0;
  for (const SequenceRows& rows : batch.sequences) {
    for (int head = 0; !rows.policy->attends_all() && head < plan_.kv_heads.size(); ++head) {
      (rows.generated ? select_calls_ : prompt_calls_).push_back({&rows, head, row, num_choices});
      if (rows.generated) num_choices += rows.num_rows;
    }
    if (rows.generated) {
      rows.use->index_bytes += static_cast<int64_t>(rows.policy->index_bytes()) * rows.num_rows;
    }
    row += rows.num_rows;
  }
  if (choices_.size() < num_choices) {
    choices_.resize(num_choices);
    selected_tasks_.resize(num_choices);
  }
}

void LlamaModel::ShowPrompts(int layer, backend::Rows q) {
  backend_->ForEach(static_cast<int>(prompt_calls_.size()), [&](int c) {
    const PolicyCall& call = prompt_calls_[c];
    const CacheReader reader(*backend_, *call.rows->cache, /*working_set=*/nullptr, layer,
                             call.head, config_.head_dim);
    policy::QueryRows rows = QueriesOf(call, 0, q);
    rows.num_rows = call.rows->num_rows;
    call.rows->policy->OnPrompt({layer, call.head, &reader}, rows);
  });
}

policy::QueryRows LlamaModel::QueriesOf(const PolicyCall& call, int row, backend::Rows q) const {
  const int64_t group_width = int64_t{AttentionShape().group_size} * config_.head_dim;
  return {.data = q.data + (call.first_row + row) * q.stride + call.head * group_width,
          .stride = q.stride,
          .first_position = call.rows->first_position + row,
          .num_rows = 1};
}

std::span<const backend::AttentionTask> LlamaModel::Select(const PolicyCall& call, int layer,
                                                           backend::Rows q) {
  const SequenceRows& rows = *call.rows;
  CacheReader reader(*backend_, *rows.cache, rows.working_set, layer, call.head, config_.head_dim);
  for (int i = 0; i < rows.num_rows; ++i) {
    Choice& choice = choices_[call.first_choice + i];
    choice.attended.clear();
    rows.policy->Select({layer, call.head, &reader}, QueriesOf(call, i, q), &choice.attended);
    choice.scanned = reader.TakeNumRead();
    choice.sketch_bytes = reader.TakeSketchBytes();
    choice.scanned_beside = reader.TakeNumBeside(choice.attended);
    FindRuns(rows, layer, call.head, i == rows.num_rows - 1, &choice);
    selected_tasks_[call.first_choice + i] = {.kv_head = call.head,
                                              .query_row = call.first_row + i,
                                              .num_queries = 1,
                                              .first_visible = choice.num_attended(),
                                              .runs = choice.runs.data(),
                                              .num_runs = static_cast<int>(choice.runs.size())};
  }
  return std::span(selected_tasks_).subspan(call.first_choice, rows.num_rows);
}

void LlamaModel::CountSelected() {
  for (const PolicyCall& call : select_calls_) {
    const SequenceRows& rows = *call.rows;
    for (int i = 0; i < rows.num_rows; ++i) {
      const Choice& choice = choices_[call.first_choice + i];
      *rows.use += {.attended = selected_tasks_[call.first_choice + i].first_visible,
                    .visible = rows.first_position + i + 1,
                    .scanned = choice.scanned,
                    .scanned_beside = choice.scanned_beside,
                    .sketch_bytes = choice.sketch_bytes};
    }
  }
}

void LlamaModel::FindRuns(const SequenceRows& rows, int layer, int head, bool last_row,
                          Choice* choice) const {
  choice->runs.clear();
  // A call's rows are all selected before one of them attends, and their selections together may be
  // more than the slots.
  if (last_row && rows.working_set != nullptr &&
      rows.working_set->Hold(layer, head, Positions(choice->attended), *rows.cache)) {
    rows.working_set->AppendRuns(layer, head, &choice->runs);
    return;
  }
  for (const policy::PositionRange& range : choice->attended) {
    rows.cache->AppendRuns(layer, head, range.begin, range.end, &choice->runs);
  }
}

}  // namespace skv::model
