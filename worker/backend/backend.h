#pragma once
// Memory and operations of one device. The model is written against this interface only; which
// arithmetic runs (docs/arithmetic.md) is the backend's business. Operations take shapes that the
// model has checked, may be queued on a device stream, and report failures at Synchronize. Not
// thread-safe: one engine thread drives a backend, which uses its own threads inside.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/kv_run.h"
#include "common/types.h"
#include "kernels/quant/quant_type.h"

namespace skv::backend {

// Rows of a weight tensor as the file holds them: [num_outputs, num_inputs] blocks of `type`.
struct MatrixSlice {
  kernels::QuantType type;
  const std::byte* data;     // first output's first block; need not outlive the load
  int64_t row_stride_bytes;  // between outputs
  int num_outputs;
  int num_inputs;
};

// A loaded weight matrix (possibly several stacked by outputs), in the backend's own form.
class Matrix {
 public:
  virtual ~Matrix() = default;
  virtual int num_outputs() const = 0;
  virtual int num_inputs() const = 0;
  virtual size_t size_bytes() const = 0;
};

// Device memory for activations, 64-byte aligned.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual float* data() = 0;
  // The same memory, for a buffer that holds totals: half as many.
  double* totals() { return reinterpret_cast<double*>(data()); }
};

// Rows of float32 activations: row t begins at data + t * stride.
struct Rows {
  float* data;
  int64_t stride;
  int num_rows;
};

// Totals of products that ranks add up: row t begins at data + t * stride.
struct Totals {
  double* data;
  int64_t stride;
  int num_rows;
};

// Where the keys and values of one activation row go, for one KV head.
struct KvTarget {
  std::byte* k;
  std::byte* v;
};

// `num_queries` consecutive query rows of one sequence, one KV head: query i sees the first
// `first_visible + i` entries of the list; first_visible >= 1.
struct AttentionTask {
  int kv_head;
  int query_row;
  int num_queries;
  int first_visible;
  const KvRun* runs;
  int num_runs;
};

struct AttentionShape {
  int num_kv_heads;  // of this rank
  int group_size;    // query heads a KV head
  int head_dim;
};

// Finds the tasks of search i: of one query each, and what they point to lasts as long as the call
// that searches. Runs on any of the host's threads, several at once.
using TaskSearch = absl::FunctionRef<std::span<const AttentionTask>(int i)>;

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;
  // Backend, arithmetic revision and KV type (docs/arithmetic.md): equal ids give equal bits.
  virtual std::string numerics_id() const = 0;
  virtual int kv_element_bytes() const = 0;
  // Unimplemented when the backend's kernels cannot attend such heads; says what they can.
  virtual absl::Status CheckShape(const AttentionShape& shape) const = 0;

  // Stacks `slices` by outputs; all have the same num_inputs.
  virtual absl::StatusOr<std::unique_ptr<Matrix>> LoadMatrix(
      std::span<const MatrixSlice> slices) = 0;
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t num_floats) = 0;
  // Uploads float32 values (norm weights).
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Upload(std::span<const float> values) = 0;

  // x[t] = row tokens[t] - first_token of `table`, or zeros when that is not one of its rows.
  virtual void Embed(const Matrix& table, TokenId first_token, std::span<const TokenId> tokens,
                     Rows x) = 0;
  // y = x W^T: x [num_rows, num_inputs], y [num_rows, num_outputs].
  virtual void MatMul(const Matrix& w, Rows x, Rows y) = 0;
  // The same for a matrix of one slice whose inputs are a rank's share, not rounded to float32.
  // With shares cut between segments of `segment_inputs` inputs the totals of all ranks add up, in
  // any order, to the bits of a single rank (docs/arithmetic.md); the ref backend promises only
  // double precision.
  virtual void MatMulTotals(const Matrix& w, int segment_inputs, Rows x, Totals y) = 0;
  virtual void RmsNorm(Rows x, const Buffer& weight, int width, float eps, Rows y) = 0;
  // Rotates num_heads heads of each row in place; cos_sin from kernels::MakeRopeTable.
  virtual void Rope(Rows x, int num_heads, int head_dim, const Buffer& cos_sin,
                    std::span<const int32_t> positions) = 0;
  // gate = silu(gate) * up.
  virtual void SiluMul(Rows gate, Rows up, int width) = 0;
  // x += y, rounded to float32 before the addition.
  virtual void AddTotals(Rows x, Totals y, int width) = 0;
  // targets[t * num_kv_heads + h] receives head h of k and v row t, converted to the KV type.
  virtual void StoreKv(const AttentionShape& shape, Rows k, Rows v,
                       std::span<const KvTarget> targets) = 0;
  // dst[i] = element i of rows of the KV type, exactly. Thread-safe; not while a StoreKv of the
  // same rows is queued.
  virtual void LoadKv(const std::byte* rows, int64_t count, float* dst) const = 0;
  // scores[r, i] = query r . key i of the list of `runs`; values are not read. Thread-safe, as
  // LoadKv.
  //   queries [num_queries, head_dim]
  //   scores  [num_queries, entries], score_stride in floats
  virtual void ScoreKeys(int head_dim, std::span<const KvRun> runs, const float* queries,
                         int num_queries, float* scores, int64_t score_stride) const = 0;
  // Runs body(i) once for each i in [0, count), on all of the host's threads that the backend has,
  // after everything that was queued.
  virtual void ForEach(int count, absl::FunctionRef<void(int)> body) = 0;
  // q, out [num_rows, num_kv_heads * group_size * head_dim].
  virtual void Attend(const AttentionShape& shape, std::span<const AttentionTask> tasks, Rows q,
                      Rows out) = 0;
  // The same for tasks that are found meanwhile: find(i) once for each i in [0, num_searches),
  // after everything that was queued; a thread may attend what one has found while others search.
  virtual void AttendFound(const AttentionShape& shape, int num_searches, TaskSearch find, Rows q,
                           Rows out) = 0;
  // OK when everything queued has succeeded.
  virtual absl::Status Synchronize() = 0;
};

// Exact float32/double arithmetic on dequantised weights, float32 KV: the tests' truth.
std::unique_ptr<Backend> CreateRefBackend(int num_threads);
// The SIMD kernels of kernels/cpu, bf16 KV.
std::unique_ptr<Backend> CreateCpuBackend(int num_threads);
// "cpu" or "ref". InvalidArgument names the known ones.
absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(std::string_view name, int num_threads);

}  // namespace skv::backend
