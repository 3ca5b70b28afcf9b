// The CPU backend: operations cut into tasks for a thread pool. How work is cut never shows in the
// bits: the kernels give each output element one fixed arithmetic (docs/arithmetic.md).

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/rounding.h"
#include "common/status.h"
#include "common/thread_pool.h"
#include "kernels/arithmetic.h"
#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/matmul.h"
#include "worker/backend/aligned_buffer.h"
#include "worker/backend/backend.h"
#include "worker/backend/cpu_attention.h"

namespace skv::backend {
namespace {

using kernels::kPanelOutputs;

// Rows of one product task: their packed activations stay in a core's L2 while a strip of weights
// passes.
constexpr int kMatMulRowTile = 256;
// Rows of one element-wise task.
constexpr int kRowTile = 16;

class CpuMatrix : public Matrix {
 public:
  struct Part {
    kernels::PackedMatrix packed;
    AlignedBytes bytes;
    int first_output;
  };

  int num_outputs() const override { return num_outputs_; }
  int num_inputs() const override { return parts_.front().packed.num_inputs; }
  size_t size_bytes() const override {
    size_t total = 0;
    for (const Part& part : parts_) total += part.bytes.size();
    return total;
  }

  std::vector<Part> parts_;
  int num_outputs_ = 0;
};

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(int num_threads) : pool_(num_threads), attention_(&pool_) {}

  std::string name() const override { return "cpu"; }
  std::string numerics_id() const override {
    return absl::StrCat("cpu-r", kernels::kArithmeticRevision, "-bf16");
  }
  int kv_element_bytes() const override { return sizeof(kernels::Bf16); }
  absl::Status CheckShape(const AttentionShape& shape) const override {
    if (shape.head_dim % 32 == 0 && shape.head_dim <= 256 && shape.group_size <= 16) {
      return absl::OkStatus();
    }
    return absl::UnimplementedError(absl::StrCat(
        "attention heads of ", shape.head_dim, " elements, ", shape.group_size,
        " query heads a KV head; the cpu backend has multiples of 32 up to 256, and up to 16 query "
        "heads; --backend=ref has more"));
  }

  absl::StatusOr<std::unique_ptr<Matrix>> LoadMatrix(std::span<const MatrixSlice> slices) override;
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t num_floats) override {
    return AllocateFloats(num_floats);
  }
  absl::StatusOr<std::unique_ptr<Buffer>> Upload(std::span<const float> values) override {
    return UploadFloats(values);
  }

  void Embed(const Matrix& table, TokenId first_token, std::span<const TokenId> tokens,
             Rows x) override;
  void MatMul(const Matrix& w, Rows x, Rows y) override;
  void MatMulTotals(const Matrix& w, int segment_inputs, Rows x, Totals y) override;
  void RmsNorm(Rows x, const Buffer& weight, int width, float eps, Rows y) override;
  void Rope(Rows x, int num_heads, int head_dim, const Buffer& cos_sin,
            std::span<const int32_t> positions) override;
  void SiluMul(Rows gate, Rows up, int width) override;
  void AddTotals(Rows x, Totals y, int width) override;
  void StoreKv(const AttentionShape& shape, Rows k, Rows v,
               std::span<const KvTarget> targets) override;
  void LoadKv(const std::byte* rows, int64_t count, float* dst) const override {
    kernels::ConvertFromBf16(reinterpret_cast<const kernels::Bf16*>(rows), count, dst);
  }
  void ScoreKeys(int head_dim, std::span<const KvRun> runs, const float* queries, int num_queries,
                 float* scores, int64_t score_stride) const override {
    kernels::ScoreKeys(queries, num_queries, head_dim, KernelRuns(runs.data()),
                       static_cast<int>(runs.size()), scores, score_stride);
  }
  void ForEach(int count, absl::FunctionRef<void(int)> body) override {
    pool_.ParallelFor(count, [&](int i, int) { body(i); });
  }
  void Attend(const AttentionShape& shape, std::span<const AttentionTask> tasks, Rows q,
              Rows out) override {
    attention_.Attend(shape, tasks, q, out);
  }
  void AttendFound(const AttentionShape& shape, int num_searches, TaskSearch find, Rows q,
                   Rows out) override {
    attention_.AttendFound(shape, num_searches, find, q, out);
  }
  absl::Status Synchronize() override { return absl::OkStatus(); }

 private:
  // Calls body(row_begin, row_end) over all rows, on all threads where it pays.
  void ForRowTiles(int num_rows, absl::FunctionRef<void(int, int)> body);
  const std::byte* Pack(kernels::QuantType type, Rows x, int num_inputs);
  // Calls body(row_begin, row_end, output_begin, output_end) for tiles that make up a product.
  void ForProductTiles(int num_rows, int num_outputs,
                       absl::FunctionRef<void(int, int, int, int)> body);

  ThreadPool pool_;
  AlignedBytes packed_activations_;
  CpuAttention attention_;
};

absl::StatusOr<std::unique_ptr<Matrix>> CpuBackend::LoadMatrix(
    std::span<const MatrixSlice> slices) {
  auto matrix = std::make_unique<CpuMatrix>();
  for (const MatrixSlice& slice : slices) {
    const size_t bytes =
        kernels::PackedMatrixBytes(slice.type, slice.num_outputs, slice.num_inputs);
    SKV_ASSIGN_OR_RETURN(AlignedBytes packed, AlignedBytes::Allocate(bytes));
    std::byte* const dst = packed.data();
    const int panels = CeilDiv(slice.num_outputs, kPanelOutputs);
    pool_.ParallelFor(panels, [&](int panel, int) {
      const int begin = panel * kPanelOutputs;
      const int end = std::min(begin + kPanelOutputs, slice.num_outputs);
      kernels::PackMatrix(slice.type, slice.data + begin * slice.row_stride_bytes,
                          slice.row_stride_bytes, slice.num_outputs, slice.num_inputs, begin, end,
                          dst);
    });
    matrix->parts_.push_back({{slice.type, slice.num_outputs, slice.num_inputs, dst},
                              std::move(packed),
                              matrix->num_outputs_});
    matrix->num_outputs_ += slice.num_outputs;
  }
  return matrix;
}

void CpuBackend::ForRowTiles(int num_rows, absl::FunctionRef<void(int, int)> body) {
  if (num_rows <= kRowTile) {
    const ScopedFlushDenormals flush;  // as the pool's threads do: rows must not depend on company
    return body(0, num_rows);
  }
  pool_.ParallelFor(CeilDiv(num_rows, kRowTile), [&](int tile, int) {
    body(tile * kRowTile, std::min((tile + 1) * kRowTile, num_rows));
  });
}

void CpuBackend::Embed(const Matrix& table, TokenId first_token, std::span<const TokenId> tokens,
                       Rows x) {
  const auto& part = static_cast<const CpuMatrix&>(table).parts_.front();
  for (size_t t = 0; t < tokens.size(); ++t) {
    const int64_t row = int64_t{tokens[t]} - first_token;
    float* const dst = x.data + t * x.stride;
    if (row < 0 || row >= part.packed.num_outputs) {
      std::fill_n(dst, part.packed.num_inputs, 0.0f);
    } else {
      kernels::UnpackRow(part.packed, static_cast<int>(row), dst);
    }
  }
}

const std::byte* CpuBackend::Pack(kernels::QuantType type, Rows x, int num_inputs) {
  packed_activations_.Grow(kernels::PackedActivationBytes(type, x.num_rows, num_inputs));
  std::byte* const dst = packed_activations_.data();
  ForRowTiles(x.num_rows, [&](int begin, int end) {
    kernels::PackActivations(type, x.data, x.stride, x.num_rows, num_inputs, begin, end, dst);
  });
  return dst;
}

void CpuBackend::MatMul(const Matrix& w, Rows x, Rows y) {
  const auto& matrix = static_cast<const CpuMatrix&>(w);
  const std::byte* activations = nullptr;
  for (size_t i = 0; i < matrix.parts_.size(); ++i) {
    const CpuMatrix::Part& part = matrix.parts_[i];
    if (i == 0 || part.packed.type != matrix.parts_[i - 1].packed.type) {
      activations = Pack(part.packed.type, x, part.packed.num_inputs);
    }
    ForProductTiles(x.num_rows, part.packed.num_outputs, [&](int t0, int t1, int n0, int n1) {
      kernels::MatMul(part.packed, activations, x.num_rows, t0, t1, n0, n1,
                      y.data + part.first_output, y.stride);
    });
  }
}

void CpuBackend::MatMulTotals(const Matrix& w, int segment_inputs, Rows x, Totals y) {
  const kernels::PackedMatrix& packed = static_cast<const CpuMatrix&>(w).parts_.front().packed;
  const std::byte* activations = Pack(packed.type, x, packed.num_inputs);
  ForProductTiles(x.num_rows, packed.num_outputs, [&](int t0, int t1, int n0, int n1) {
    kernels::MatMulTotals(packed, activations, x.num_rows, t0, t1, n0, n1, segment_inputs, y.data,
                          y.stride);
  });
}

void CpuBackend::ForProductTiles(int num_rows, int num_outputs,
                                 absl::FunctionRef<void(int, int, int, int)> body) {
  const int panels = CeilDiv(num_outputs, kPanelOutputs);
  const int row_tiles = CeilDiv(num_rows, kMatMulRowTile);
  const int threads = pool_.num_threads();
  // A few tasks a thread even out what the machine does to one of them.
  const int strips = threads == 1 ? 1 : std::min(panels, std::max(1, 6 * threads / row_tiles));
  const int panels_per_strip = CeilDiv(panels, strips);
  pool_.ParallelFor(row_tiles * strips, [&](int task, int) {
    const int row_begin = task / strips * kMatMulRowTile;
    const int row_end = std::min(row_begin + kMatMulRowTile, num_rows);
    const int begin = task % strips * panels_per_strip * kPanelOutputs;
    const int end = std::min(begin + panels_per_strip * kPanelOutputs, num_outputs);
    if (begin < end) body(row_begin, row_end, begin, end);
  });
}

void CpuBackend::RmsNorm(Rows x, const Buffer& weight, int width, float eps, Rows y) {
  const float* const w = const_cast<Buffer&>(weight).data();
  ForRowTiles(x.num_rows, [&](int begin, int end) {
    kernels::RmsNorm(x.data + begin * x.stride, x.stride, w, end - begin, width, eps,
                     y.data + begin * y.stride, y.stride);
  });
}

void CpuBackend::Rope(Rows x, int num_heads, int head_dim, const Buffer& cos_sin,
                      std::span<const int32_t> positions) {
  const float* const table = const_cast<Buffer&>(cos_sin).data();
  ForRowTiles(x.num_rows, [&](int begin, int end) {
    kernels::Rope(x.data + begin * x.stride, x.stride, end - begin, num_heads, head_dim, table,
                  positions.data() + begin);
  });
}

void CpuBackend::SiluMul(Rows gate, Rows up, int width) {
  ForRowTiles(gate.num_rows, [&](int begin, int end) {
    kernels::SiluMul(gate.data + begin * gate.stride, gate.stride, up.data + begin * up.stride,
                     up.stride, end - begin, width);
  });
}

void CpuBackend::AddTotals(Rows x, Totals y, int width) {
  ForRowTiles(x.num_rows, [&](int begin, int end) {
    kernels::AddTotals(x.data + begin * x.stride, x.stride, y.data + begin * y.stride, y.stride,
                       end - begin, width);
  });
}

void CpuBackend::StoreKv(const AttentionShape& shape, Rows k, Rows v,
                         std::span<const KvTarget> targets) {
  const int d = shape.head_dim;
  ForRowTiles(k.num_rows, [&](int begin, int end) {
    for (int t = begin; t < end; ++t) {
      for (int h = 0; h < shape.num_kv_heads; ++h) {
        const KvTarget& target = targets[t * shape.num_kv_heads + h];
        kernels::ConvertToBf16(k.data + t * k.stride + h * d, d,
                               reinterpret_cast<kernels::Bf16*>(target.k));
        kernels::ConvertToBf16(v.data + t * v.stride + h * d, d,
                               reinterpret_cast<kernels::Bf16*>(target.v));
      }
    }
  });
}

}  // namespace

std::unique_ptr<Backend> CreateCpuBackend(int num_threads) {
  return std::make_unique<CpuBackend>(num_threads);
}

}  // namespace skv::backend
