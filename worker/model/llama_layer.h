#pragma once
// One layer's weights on one rank, private to the model.

#include <memory>

#include "worker/backend/backend.h"
#include "worker/model/llama_model.h"

namespace skv::model {

struct LlamaModel::Layer {
  std::unique_ptr<backend::Buffer> attention_norm;    // [H]
  std::unique_ptr<backend::Matrix> qkv;               // [(hq + 2 hkv) D, H], stacked q, k, v
  std::unique_ptr<backend::Matrix> attention_output;  // [H, hq D]
  std::unique_ptr<backend::Buffer> ffn_norm;          // [H]
  std::unique_ptr<backend::Matrix> gate_up;           // [2 f, H], stacked gate, up
  std::unique_ptr<backend::Matrix> ffn_down;          // [H, f]
};

}  // namespace skv::model
