// Cuts this rank's shard out of the file's tensors and gives it to the backend.

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kernels/elementwise.h"
#include "worker/model/llama_layer.h"
#include "worker/model/llama_model.h"

namespace skv::model {
namespace {

using backend::MatrixSlice;
using loader::TensorSlice;
using loader::TensorView;

MatrixSlice Slice(const TensorView& tensor, const TensorSlice& slice) {
  return {tensor.type, loader::SliceData(tensor, slice), tensor.row_bytes(), slice.num_outputs(),
          slice.num_inputs()};
}

}  // namespace

absl::Status LlamaModel::LoadWeights(const loader::LlamaTensors& tensors) {
  const auto upload = [&](const TensorView& tensor, std::unique_ptr<backend::Buffer>* buffer) {
    auto uploaded = backend_->Upload(loader::ReadFloats(tensor));
    if (uploaded.ok()) *buffer = std::move(uploaded).value();
    return uploaded.status();
  };
  const auto load = [&](std::vector<MatrixSlice> slices, std::unique_ptr<backend::Matrix>* matrix) {
    auto loaded = backend_->LoadMatrix(slices);
    if (!loaded.ok()) return loaded.status();
    *matrix = std::move(loaded).value();
    weight_bytes_ += (*matrix)->size_bytes();
    return absl::OkStatus();
  };

  for (int rank = 0; rank < plan_.world_size; ++rank) {
    SKV_ASSIGN_OR_RETURN(const loader::ShardPlan plan,
                         loader::MakeShardPlan(config_, tensors, plan_.world_size, rank));
    vocab_of_ranks_.push_back(plan.vocab);
  }
  SKV_RETURN_IF_ERROR(load({Slice(tensors.token_embd, plan_.output)}, &embedding_));
  if (!config_.tied_embeddings) {
    SKV_RETURN_IF_ERROR(load({Slice(tensors.output, plan_.output)}, &head_));
  }
  SKV_RETURN_IF_ERROR(upload(tensors.output_norm, &output_norm_));
  for (const loader::LlamaLayerTensors& source : tensors.layers) {
    auto layer = std::make_unique<Layer>();
    SKV_RETURN_IF_ERROR(upload(source.attn_norm, &layer->attention_norm));
    SKV_RETURN_IF_ERROR(upload(source.ffn_norm, &layer->ffn_norm));
    SKV_RETURN_IF_ERROR(
        load({Slice(source.attn_q, plan_.attn_q), Slice(source.attn_k, plan_.attn_kv),
              Slice(source.attn_v, plan_.attn_kv)},
             &layer->qkv));
    SKV_RETURN_IF_ERROR(
        load({Slice(source.attn_output, plan_.attn_output)}, &layer->attention_output));
    SKV_RETURN_IF_ERROR(
        load({Slice(source.ffn_gate, plan_.ffn_gate_up), Slice(source.ffn_up, plan_.ffn_gate_up)},
             &layer->gate_up));
    SKV_RETURN_IF_ERROR(load({Slice(source.ffn_down, plan_.ffn_down)}, &layer->ffn_down));
    layers_.push_back(std::move(layer));
  }
  return LoadRopeTable(tensors);
}

absl::Status LlamaModel::LoadRopeTable(const loader::LlamaTensors& tensors) {
  std::vector<float> divisors;
  if (tensors.rope_freqs) divisors = loader::ReadFloats(*tensors.rope_freqs);
  const std::vector<float> frequencies = loader::RopeFrequencies(config_, divisors);
  const size_t size = static_cast<size_t>(options_.max_positions) * config_.head_dim;
  SKV_ASSIGN_OR_RETURN(rope_table_, backend_->Allocate(size));
  kernels::MakeRopeTable(frequencies.data(), config_.head_dim, options_.max_positions,
                         rope_table_->data());
  return absl::OkStatus();
}

}  // namespace skv::model
