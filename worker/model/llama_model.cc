#include "worker/model/llama_model.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "worker/model/llama_layer.h"

namespace skv::model {

using backend::Rows;

LlamaModel::LlamaModel(const loader::LlamaConfig& config, const loader::ShardPlan& plan,
                       const Options& options, backend::Backend* backend,
                       comm::Communicator* communicator)
    : config_(config),
      plan_(plan),
      options_(options),
      backend_(backend),
      communicator_(communicator) {}

LlamaModel::~LlamaModel() = default;

absl::StatusOr<std::unique_ptr<LlamaModel>> LlamaModel::Load(const loader::LlamaConfig& config,
                                                             const loader::LlamaTensors& tensors,
                                                             const loader::ShardPlan& plan,
                                                             const Options& options,
                                                             backend::Backend* backend,
                                                             comm::Communicator* communicator) {
  auto model =
      std::unique_ptr<LlamaModel>(new LlamaModel(config, plan, options, backend, communicator));
  SKV_RETURN_IF_ERROR(backend->CheckShape(model->AttentionShape()));
  SKV_RETURN_IF_ERROR(model->LoadWeights(tensors));
  SKV_RETURN_IF_ERROR(model->AllocateActivations());
  return model;
}

absl::Status LlamaModel::AllocateActivations() {
  const size_t rows = options_.max_rows;
  const auto allocate = [&](std::unique_ptr<backend::Buffer>* buffer, size_t width) {
    auto allocated = backend_->Allocate(rows * width);
    if (allocated.ok()) *buffer = std::move(allocated).value();
    return allocated.status();
  };
  SKV_RETURN_IF_ERROR(allocate(&hidden_, config_.hidden));
  SKV_RETURN_IF_ERROR(allocate(&normed_, config_.hidden));
  SKV_RETURN_IF_ERROR(allocate(&qkv_, QkvWidth()));
  SKV_RETURN_IF_ERROR(allocate(&attended_, plan_.heads.size() * config_.head_dim));
  SKV_RETURN_IF_ERROR(allocate(&totals_, 2 * config_.hidden));
  return allocate(&gate_up_, 2 * plan_.ffn.size());
}

kv::KvLayout LlamaModel::kv_layout() const {
  return {.num_layers = config_.num_layers,
          .num_kv_heads = plan_.kv_heads.size(),
          .head_dim = config_.head_dim,
          .element_bytes = backend_->kv_element_bytes()};
}

policy::SequenceShape LlamaModel::sequence_shape(int num_prompt_tokens) const {
  const backend::AttentionShape shape = AttentionShape();
  return {.num_layers = config_.num_layers,
          .num_kv_heads = shape.num_kv_heads,
          .group_size = shape.group_size,
          .head_dim = shape.head_dim,
          .num_prompt_tokens = num_prompt_tokens};
}

Rows LlamaModel::RowsOf(backend::Buffer& buffer, int width) const {
  return {buffer.data(), width, num_rows_};
}

absl::Status LlamaModel::AddProduct(const backend::Matrix& w, int segment_inputs, Rows x) {
  const backend::Totals totals = {totals_->totals(), config_.hidden, num_rows_};
  backend_->MatMulTotals(w, segment_inputs, x, totals);
  if (communicator_->world_size() > 1) {
    SKV_RETURN_IF_ERROR(backend_->Synchronize());
    const size_t count = static_cast<size_t>(num_rows_) * config_.hidden;
    SKV_RETURN_IF_ERROR(communicator_->AllReduceSum(totals.data, count));
  }
  backend_->AddTotals(RowsOf(*hidden_, config_.hidden), totals, config_.hidden);
  return absl::OkStatus();
}

absl::Status LlamaModel::Forward(const ForwardBatch& batch, std::vector<float>* logits) {
  PlanBatch(batch);
  PlanPolicyCalls(batch);
  SKV_RETURN_IF_ERROR(Embed(batch.tokens));
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    SKV_RETURN_IF_ERROR(AttentionBlock(batch, layer));
    SKV_RETURN_IF_ERROR(MlpBlock(layer));
    beat_();
  }
  return Logits(batch, logits);
}

absl::Status LlamaModel::Embed(std::span<const TokenId> tokens) {
  const Rows hidden = RowsOf(*hidden_, config_.hidden);
  backend_->Embed(*embedding_, plan_.vocab.begin, tokens, hidden);
  if (communicator_->world_size() == 1) return absl::OkStatus();
  // A token's row is one rank's; the others add zeros.
  SKV_RETURN_IF_ERROR(backend_->Synchronize());
  return communicator_->AllReduceSum(hidden.data, static_cast<size_t>(num_rows_) * config_.hidden);
}

absl::Status LlamaModel::AttentionBlock(const ForwardBatch& batch, int layer_idx) {
  const Layer& layer = *layers_[layer_idx];
  const int head_dim = config_.head_dim;
  const int q_width = plan_.heads.size() * head_dim;
  const int kv_width = plan_.kv_heads.size() * head_dim;
  const Rows hidden = RowsOf(*hidden_, config_.hidden);
  const Rows normed = RowsOf(*normed_, config_.hidden);
  const Rows q = RowsOf(*qkv_, QkvWidth());
  const Rows k = {q.data + q_width, q.stride, num_rows_};
  const Rows v = {k.data + kv_width, q.stride, num_rows_};
  const Rows attended = RowsOf(*attended_, q_width);

  backend_->RmsNorm(hidden, *layer.attention_norm, config_.hidden, config_.rms_eps, normed);
  backend_->MatMul(*layer.qkv, normed, q);
  // q and k lie side by side, so one call rotates the heads of both.
  backend_->Rope(q, plan_.heads.size() + plan_.kv_heads.size(), head_dim, *rope_table_, positions_);
  FindTargets(batch, layer_idx);
  backend_->StoreKv(AttentionShape(), k, v, targets_);
  // A sequence may end its prompt and go on in one step: its prompt first.
  ShowPrompts(layer_idx, q);
  AppendExactTasks(batch, layer_idx);
  backend_->Attend(AttentionShape(), tasks_, q, attended);
  backend_->AttendFound(
      AttentionShape(), static_cast<int>(select_calls_.size()),
      [&](int c) { return Select(select_calls_[c], layer_idx, q); }, q, attended);
  CountSelected();
  return AddProduct(*layer.attention_output, plan_.attn_output_segment, attended);
}

absl::Status LlamaModel::MlpBlock(int layer_idx) {
  const Layer& layer = *layers_[layer_idx];
  const int ffn = plan_.ffn.size();
  const Rows hidden = RowsOf(*hidden_, config_.hidden);
  const Rows normed = RowsOf(*normed_, config_.hidden);
  const Rows gate = RowsOf(*gate_up_, 2 * ffn);
  const Rows up = {gate.data + ffn, gate.stride, num_rows_};

  backend_->RmsNorm(hidden, *layer.ffn_norm, config_.hidden, config_.rms_eps, normed);
  backend_->MatMul(*layer.gate_up, normed, gate);
  backend_->SiluMul(gate, up, ffn);
  return AddProduct(*layer.ffn_down, plan_.ffn_segment, gate);
}

absl::Status LlamaModel::Logits(const ForwardBatch& batch, std::vector<float>* logits) {
  const int num_wanted = static_cast<int>(batch.logit_rows.size());
  if (num_wanted == 0) {
    logits->clear();
    return backend_->Synchronize();
  }
  const Rows hidden = RowsOf(*hidden_, config_.hidden);
  const Rows wanted = {normed_->data(), config_.hidden, num_wanted};
  for (int i = 0; i < num_wanted; ++i) {
    const Rows row = {hidden.data + batch.logit_rows[i] * hidden.stride, hidden.stride, 1};
    backend_->RmsNorm(row, *output_norm_, config_.hidden, config_.rms_eps,
                      {wanted.data + i * wanted.stride, wanted.stride, 1});
  }
  const backend::Matrix& head = head_ != nullptr ? *head_ : *embedding_;
  const bool alone = communicator_->world_size() == 1;
  std::vector<float>& shard = alone ? *logits : logit_shard_;
  const int shard_width = plan_.vocab.size();
  shard.resize(static_cast<size_t>(num_wanted) * shard_width);
  backend_->MatMul(head, wanted, {shard.data(), shard_width, num_wanted});
  SKV_RETURN_IF_ERROR(backend_->Synchronize());
  return alone ? absl::OkStatus() : GatherLogits(num_wanted, logits);
}

absl::Status LlamaModel::GatherLogits(int num_wanted, std::vector<float>* logits) {
  const bool leader = communicator_->rank() == 0;
  std::vector<size_t> counts;
  for (const loader::Range& slice : vocab_of_ranks_) {
    counts.push_back(static_cast<size_t>(slice.size()) * num_wanted);
  }
  const size_t total = static_cast<size_t>(config_.vocab_size) * num_wanted;
  if (leader) gathered_.resize(total);
  SKV_RETURN_IF_ERROR(communicator_->Gather(logit_shard_.data(), counts.data(),
                                            leader ? gathered_.data() : nullptr));
  if (!leader) return absl::OkStatus();
  logits->resize(total);
  const float* src = gathered_.data();
  for (const loader::Range& slice : vocab_of_ranks_) {
    for (int i = 0; i < num_wanted; ++i, src += slice.size()) {
      std::copy_n(src, slice.size(),
                  logits->data() + static_cast<size_t>(i) * config_.vocab_size + slice.begin);
    }
  }
  return absl::OkStatus();
}

}  // namespace skv::model
