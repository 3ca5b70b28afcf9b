// The policies' part of an attention block.

#include "worker/model/llama_model.h"

namespace skv::model {
namespace {

class CacheReader : public policy::KvReader {
 public:
  CacheReader(const backend::Backend& backend, const kv::SequenceCache& cache, int layer, int head,
              int head_dim)
      : backend_(backend), cache_(cache), layer_(layer), head_(head), head_dim_(head_dim) {}

  void ReadKeys(int begin, int end, float* rows) const override {
    Read(begin, end, &kv::RowRun::k, rows);
  }
  void ReadValues(int begin, int end, float* rows) const override {
    Read(begin, end, &kv::RowRun::v, rows);
  }

 private:
  void Read(int begin, int end, const std::byte* kv::RowRun::*part, float* rows) const {
    std::vector<kv::RowRun> runs;
    cache_.AppendRuns(layer_, head_, begin, end, &runs);
    for (const kv::RowRun& run : runs) {
      const int64_t count = int64_t{run.num_rows} * head_dim_;
      backend_.LoadKv(run.*part, count, rows);
      rows += count;
    }
  }

  const backend::Backend& backend_;
  const kv::SequenceCache& cache_;
  const int layer_, head_, head_dim_;
};

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
    row += rows.num_rows;
  }
  if (choices_.size() < num_choices) choices_.resize(num_choices);
}

void LlamaModel::AskPolicies(int layer, backend::Rows q) {
  if (prompt_calls_.empty() && select_calls_.empty()) return;
  const int group_width = AttentionShape().group_size * config_.head_dim;
  const auto queries = [&](const PolicyCall& call, int i) {
    return policy::QueryRows{.data = q.data + (call.first_row + i) * q.stride +
                                     static_cast<int64_t>(call.head) * group_width,
                             .stride = q.stride,
                             .first_position = call.rows->first_position + i,
                             .num_rows = 1};
  };
  // A sequence may end its prompt and go on in one step: its prompt first.
  backend_->ForEach(static_cast<int>(prompt_calls_.size()), [&](int c) {
    const PolicyCall& call = prompt_calls_[c];
    const CacheReader reader(*backend_, *call.rows->cache, layer, call.head, config_.head_dim);
    policy::QueryRows rows = queries(call, 0);
    rows.num_rows = call.rows->num_rows;
    call.rows->policy->OnPrompt({layer, call.head, &reader}, rows);
  });
  backend_->ForEach(static_cast<int>(select_calls_.size()), [&](int c) {
    const PolicyCall& call = select_calls_[c];
    const CacheReader reader(*backend_, *call.rows->cache, layer, call.head, config_.head_dim);
    for (int i = 0; i < call.rows->num_rows; ++i) {
      std::vector<policy::PositionRange>& attended = choices_[call.first_choice + i];
      attended.clear();
      call.rows->policy->Select({layer, call.head, &reader}, queries(call, i), &attended);
    }
  });
}

}  // namespace skv::model
