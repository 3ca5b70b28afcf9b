// The reference backend: dequantised float32 weights, double sums, float32 keys and values. Slow,
// and the truth that the other backends are measured against.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/thread_pool.h"
#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/ref/attention_ref.h"
#include "kernels/ref/elementwise_ref.h"
#include "kernels/ref/matmul_ref.h"
#include "worker/backend/aligned_buffer.h"
#include "worker/backend/backend.h"

namespace skv::backend {
namespace {

constexpr int kOutputTile = 64;
constexpr int kQueryTile = 8;

class RefMatrix : public Matrix {
 public:
  RefMatrix(AlignedBytes bytes, int num_outputs, int num_inputs)
      : bytes_(std::move(bytes)), num_outputs_(num_outputs), num_inputs_(num_inputs) {}
  int num_outputs() const override { return num_outputs_; }
  int num_inputs() const override { return num_inputs_; }
  size_t size_bytes() const override { return bytes_.size(); }
  // [num_outputs, num_inputs]
  float* row(int64_t output) const {
    return reinterpret_cast<float*>(bytes_.data()) + output * num_inputs_;
  }

 private:
  AlignedBytes bytes_;
  const int num_outputs_;
  const int num_inputs_;
};

class RefBackend : public Backend {
 public:
  explicit RefBackend(int num_threads) : pool_(num_threads) {}

  std::string name() const override { return "ref"; }
  std::string numerics_id() const override { return "ref-f32"; }
  int kv_element_bytes() const override { return sizeof(float); }
  absl::Status CheckShape(const AttentionShape& shape) const override {
    if (shape.head_dim <= kernels::kMaxRefHeadDim) return absl::OkStatus();
    return absl::UnimplementedError(absl::StrCat("attention heads of ", shape.head_dim,
                                                 " elements; the ref backend has up to ",
                                                 kernels::kMaxRefHeadDim));
  }

  absl::StatusOr<std::unique_ptr<Matrix>> LoadMatrix(std::span<const MatrixSlice> slices) override {
    int num_outputs = 0;
    for (const MatrixSlice& slice : slices) num_outputs += slice.num_outputs;
    const int num_inputs = slices.front().num_inputs;
    const size_t bytes = sizeof(float) * num_outputs * num_inputs;
    SKV_ASSIGN_OR_RETURN(AlignedBytes storage, AlignedBytes::Allocate(bytes));
    auto matrix = std::make_unique<RefMatrix>(std::move(storage), num_outputs, num_inputs);
    int output = 0;
    for (const MatrixSlice& slice : slices) {
      for (int i = 0; i < slice.num_outputs; ++i) {
        kernels::DequantizeRow(slice.type, slice.data + i * slice.row_stride_bytes, num_inputs,
                               matrix->row(output++));
      }
    }
    return matrix;
  }
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t num_floats) override {
    return AllocateFloats(num_floats);
  }
  absl::StatusOr<std::unique_ptr<Buffer>> Upload(std::span<const float> values) override {
    return UploadFloats(values);
  }

  void Embed(const Matrix& table, TokenId first_token, std::span<const TokenId> tokens,
             Rows x) override {
    const auto& matrix = static_cast<const RefMatrix&>(table);
    for (size_t t = 0; t < tokens.size(); ++t) {
      const int64_t row = int64_t{tokens[t]} - first_token;
      float* const dst = x.data + t * x.stride;
      if (row < 0 || row >= matrix.num_outputs()) {
        std::fill_n(dst, matrix.num_inputs(), 0.0f);
      } else {
        std::copy_n(matrix.row(row), matrix.num_inputs(), dst);
      }
    }
  }

  void MatMul(const Matrix& w, Rows x, Rows y) override {
    ForOutputTiles(w, [&](const float* rows, int begin, int count) {
      kernels::MatMulRef(rows, count, w.num_inputs(), x.data, x.stride, x.num_rows, y.data + begin,
                         y.stride);
    });
  }

  void MatMulTotals(const Matrix& w, int segment_inputs, Rows x, Totals y) override {
    ForOutputTiles(w, [&](const float* rows, int begin, int count) {
      kernels::MatMulTotalsRef(rows, count, w.num_inputs(), x.data, x.stride, x.num_rows,
                               y.data + begin, y.stride);
    });
  }

  void RmsNorm(Rows x, const Buffer& weight, int width, float eps, Rows y) override {
    kernels::RmsNormRef(x.data, x.stride, const_cast<Buffer&>(weight).data(), x.num_rows, width,
                        eps, y.data, y.stride);
  }

  void Rope(Rows x, int num_heads, int head_dim, const Buffer& cos_sin,
            std::span<const int32_t> positions) override {
    kernels::Rope(x.data, x.stride, x.num_rows, num_heads, head_dim,
                  const_cast<Buffer&>(cos_sin).data(), positions.data());
  }

  void SiluMul(Rows gate, Rows up, int width) override {
    kernels::SiluMulRef(gate.data, gate.stride, up.data, up.stride, gate.num_rows, width);
  }

  void AddTotals(Rows x, Totals y, int width) override {
    kernels::AddTotals(x.data, x.stride, y.data, y.stride, x.num_rows, width);
  }

  void StoreKv(const AttentionShape& shape, Rows k, Rows v,
               std::span<const KvTarget> targets) override {
    const size_t bytes = shape.head_dim * sizeof(float);
    for (int t = 0; t < k.num_rows; ++t) {
      for (int h = 0; h < shape.num_kv_heads; ++h) {
        const KvTarget& target = targets[t * shape.num_kv_heads + h];
        std::memcpy(target.k, k.data + t * k.stride + h * shape.head_dim, bytes);
        std::memcpy(target.v, v.data + t * v.stride + h * shape.head_dim, bytes);
      }
    }
  }

  void LoadKv(const std::byte* rows, int64_t count, float* dst) const override {
    std::memcpy(dst, rows, count * sizeof(float));
  }

  void ScoreKeys(int head_dim, std::span<const KvRun> runs, const float* queries, int num_queries,
                 float* scores, int64_t score_stride) const override {
    int64_t entry = 0;
    for (const KvRun& run : runs) {
      const auto* key = reinterpret_cast<const float*>(run.k);
      for (int i = 0; i < run.num_rows; ++i, ++entry, key += head_dim) {
        for (int r = 0; r < num_queries; ++r) {
          const float* const query = queries + int64_t{r} * head_dim;
          double dot = 0;
          for (int c = 0; c < head_dim; ++c) dot += double{query[c]} * key[c];
          scores[r * score_stride + entry] = static_cast<float>(dot);
        }
      }
    }
  }

  void ForEach(int count, absl::FunctionRef<void(int)> body) override {
    pool_.ParallelFor(count, [&](int i, int) { body(i); });
  }

  void Attend(const AttentionShape& shape, std::span<const AttentionTask> tasks, Rows q,
              Rows out) override {
    struct Piece {
      const AttentionTask* task;
      int begin;
    };
    std::vector<Piece> pieces;
    for (const AttentionTask& task : tasks) {
      for (int i = 0; i < task.num_queries; i += kQueryTile) pieces.push_back({&task, i});
    }
    const kernels::AttentionShape kernel_shape{
        shape.head_dim, shape.group_size,
        static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)))};
    pool_.ParallelFor(static_cast<int>(pieces.size()), [&](int i, int) {
      static_assert(sizeof(KvRun) == sizeof(kernels::FloatKvRun));
      const auto& [task, begin] = pieces[i];
      const int64_t row = task->query_row + begin;
      const int64_t column =
          static_cast<int64_t>(task->kv_head) * shape.group_size * shape.head_dim;
      kernels::AttentionRef(kernel_shape, reinterpret_cast<const kernels::FloatKvRun*>(task->runs),
                            task->num_runs, q.data + row * q.stride + column, q.stride,
                            std::min(kQueryTile, task->num_queries - begin),
                            task->first_visible + begin, out.data + row * out.stride + column,
                            out.stride);
    });
  }

  void AttendFound(const AttentionShape& shape, int num_searches, TaskSearch find, Rows q,
                   Rows out) override {
    std::vector<std::span<const AttentionTask>> found(num_searches);
    pool_.ParallelFor(num_searches, [&](int i, int) { found[i] = find(i); });
    for (const std::span<const AttentionTask> tasks : found) Attend(shape, tasks, q, out);
  }

  absl::Status Synchronize() override { return absl::OkStatus(); }

 private:
  // Calls body(first weight row, first output, number of outputs) for all outputs of `w`.
  void ForOutputTiles(const Matrix& w, absl::FunctionRef<void(const float*, int, int)> body) {
    const auto& matrix = static_cast<const RefMatrix&>(w);
    const int tiles = (matrix.num_outputs() + kOutputTile - 1) / kOutputTile;
    pool_.ParallelFor(tiles, [&](int tile, int) {
      const int begin = tile * kOutputTile;
      body(matrix.row(begin), begin, std::min(kOutputTile, matrix.num_outputs() - begin));
    });
  }

  ThreadPool pool_;
};

}  // namespace

std::unique_ptr<Backend> CreateRefBackend(int num_threads) {
  return std::make_unique<RefBackend>(num_threads);
}

}  // namespace skv::backend
