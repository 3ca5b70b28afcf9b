#include "worker/loader/llama_weights.h"

#include <cmath>
#include <string>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::loader {
namespace {

using kernels::QuantType;

bool IsPlainFloat(QuantType type) { return kernels::BlockElements(type) == 1; }

std::string ShapeText(int64_t rows, int64_t row_length) {
  return rows == 0 ? absl::StrCat("[", row_length, "]")
                   : absl::StrCat("[", rows, ", ", row_length, "]");
}

std::string ShapeText(const TensorView& tensor) {
  std::string text = "[";
  for (int i = tensor.num_dims - 1; i >= 0; --i) {
    absl::StrAppend(&text, tensor.dims[i], i > 0 ? ", " : "]");
  }
  return text;
}

// Hands out the file's tensors once each, so that the ones nobody asked for remain.
class TensorFinder {
 public:
  explicit TensorFinder(const GgufFile& file) : file_(file) {}

  absl::Status FindMatrix(const std::string& name, int64_t rows, int64_t row_length,
                          TensorView* out) {
    SKV_RETURN_IF_ERROR(Find(name, out));
    if (out->num_dims == 2 && out->dims[0] == row_length && out->dims[1] == rows) {
      return absl::OkStatus();
    }
    return WrongShape(*out, ShapeText(rows, row_length));
  }

  absl::Status FindVector(const std::string& name, int64_t length, TensorView* out) {
    SKV_RETURN_IF_ERROR(Find(name, out));
    if (out->num_dims != 1 || out->dims[0] != length) {
      return WrongShape(*out, ShapeText(0, length));
    }
    if (IsPlainFloat(out->type)) return absl::OkStatus();
    return Error(name, absl::StrCat("type ", kernels::QuantTypeName(out->type),
                                    ", expected F32, F16 or BF16"));
  }

  absl::Status Error(const std::string& name, const std::string& problem) const {
    return absl::DataLossError(absl::StrCat(file_.name(), ": tensor ", name, ": ", problem));
  }

  // REQUIRES: all tensors of the model were found.
  absl::Status CheckNoneLeft() const {
    if (num_found_ == file_.tensors().size()) return absl::OkStatus();
    for (const TensorView& tensor : file_.tensors()) {
      if (found_.count(tensor.name) > 0) continue;
      return absl::UnimplementedError(absl::StrCat(
          file_.name(), ": tensor ", Printable(tensor.name), " ", ShapeText(tensor),
          " is not part of a plain Llama; expected only its ", num_found_, " tensors"));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Find(const std::string& name, TensorView* out) {
    const TensorView* tensor = file_.FindTensor(name);
    if (tensor == nullptr) {
      return absl::NotFoundError(absl::StrCat(file_.name(), ": tensor ", name, " is missing"));
    }
    *out = *tensor;
    found_.insert(tensor->name);
    ++num_found_;
    return absl::OkStatus();
  }

  absl::Status WrongShape(const TensorView& tensor, const std::string& expected) const {
    return Error(std::string(tensor.name),
                 absl::StrCat("shape ", ShapeText(tensor), ", expected ", expected));
  }

  const GgufFile& file_;
  std::unordered_set<std::string_view> found_;
  size_t num_found_ = 0;
};

absl::Status FindLayer(const LlamaConfig& config, int layer_idx, TensorFinder* finder,
                       LlamaLayerTensors* layer) {
  const std::string prefix = absl::StrCat("blk.", layer_idx, ".");
  const int64_t hidden = config.hidden, ffn = config.ffn;
  const int64_t query_width = int64_t{config.num_heads} * config.head_dim;
  const int64_t kv_width = int64_t{config.num_kv_heads} * config.head_dim;
  const struct {
    const char* name;
    int64_t rows, row_length;
    TensorView* view;
  } kMatrices[] = {{"attn_q.weight", query_width, hidden, &layer->attn_q},
                   {"attn_k.weight", kv_width, hidden, &layer->attn_k},
                   {"attn_v.weight", kv_width, hidden, &layer->attn_v},
                   {"attn_output.weight", hidden, query_width, &layer->attn_output},
                   {"ffn_gate.weight", ffn, hidden, &layer->ffn_gate},
                   {"ffn_up.weight", ffn, hidden, &layer->ffn_up},
                   {"ffn_down.weight", hidden, ffn, &layer->ffn_down}};
  for (const auto& matrix : kMatrices) {
    SKV_RETURN_IF_ERROR(
        finder->FindMatrix(prefix + matrix.name, matrix.rows, matrix.row_length, matrix.view));
  }
  SKV_RETURN_IF_ERROR(finder->FindVector(prefix + "attn_norm.weight", hidden, &layer->attn_norm));
  return finder->FindVector(prefix + "ffn_norm.weight", hidden, &layer->ffn_norm);
}

absl::Status FindRopeFreqs(const LlamaConfig& config, TensorFinder* finder, TensorView* out) {
  const std::string name = "rope_freqs.weight";
  SKV_RETURN_IF_ERROR(finder->FindVector(name, config.head_dim / 2, out));
  if (out->type != QuantType::kF32) {
    return finder->Error(
        name, absl::StrCat("type ", kernels::QuantTypeName(out->type), ", expected F32"));
  }
  const std::vector<float> divisors = ReadFloats(*out);
  for (size_t i = 0; i < divisors.size(); ++i) {
    if (std::isfinite(divisors[i]) && divisors[i] > 0) continue;
    return finder->Error(
        name, absl::StrCat("value ", i, " is ", divisors[i], ", expected a positive number"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LlamaTensors> FindLlamaTensors(const GgufFile& file, const LlamaConfig& config) {
  TensorFinder finder(file);
  LlamaTensors tensors;
  const int64_t vocab_size = config.vocab_size, hidden = config.hidden;
  SKV_RETURN_IF_ERROR(
      finder.FindMatrix("token_embd.weight", vocab_size, hidden, &tensors.token_embd));
  tensors.output = tensors.token_embd;
  if (!config.tied_embeddings) {
    SKV_RETURN_IF_ERROR(finder.FindMatrix("output.weight", vocab_size, hidden, &tensors.output));
  }
  SKV_RETURN_IF_ERROR(finder.FindVector("output_norm.weight", hidden, &tensors.output_norm));
  if (file.FindTensor("rope_freqs.weight") != nullptr) {
    SKV_RETURN_IF_ERROR(FindRopeFreqs(config, &finder, &tensors.rope_freqs.emplace()));
  }
  for (int i = 0; i < config.num_layers; ++i) {
    SKV_RETURN_IF_ERROR(FindLayer(config, i, &finder, &tensors.layers.emplace_back()));
  }
  SKV_RETURN_IF_ERROR(finder.CheckNoneLeft());
  return tensors;
}

std::vector<float> ReadFloats(const TensorView& tensor) {
  std::vector<float> values(tensor.dims[0] * tensor.num_rows());
  kernels::DequantizeRow(tensor.type, tensor.data.data(), static_cast<int64_t>(values.size()),
                         values.data());
  return values;
}

}  // namespace skv::loader
