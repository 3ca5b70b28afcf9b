// Products of the default model's shapes, one thread, weights larger than the cache in all:
//   matmul/TYPE/INPUTSxOUTPUTS/ROWS   Gop/s (2 per weight and row), GB/s of weights, shares of the
//                                     probes' int8 peak and read bandwidth
//   .../segment:N                     the same with totals of segments of N inputs
// Rows below about 8 are bound by memory, the others by the int8 units.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/probes.h"
#include "kernels/elementwise.h"
#include "kernels/matmul.h"

namespace skv::kernels {
namespace {

struct FreeAligned {
  void operator()(std::byte* p) const { std::free(p); }
};
using AlignedArray = std::unique_ptr<std::byte[], FreeAligned>;

AlignedArray AllocateAligned(size_t bytes) {
  return AlignedArray(
      static_cast<std::byte*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096)));
}

double Int8Peak() {
  static const double peak = MeasureInt8Peak(1, 0.3);
  return peak;
}

double ReadBandwidth() {
  static const double bandwidth = MeasureReadBandwidth(1, 0.5, size_t{256} << 20);
  return bandwidth;
}

std::vector<float> RandomFloats(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

void RunProduct(benchmark::State& state, QuantType type, int num_inputs, int num_outputs,
                int num_rows, int segment_inputs) {
  const size_t bytes = PackedMatrixBytes(type, num_outputs, num_inputs);
  const int num_copies = static_cast<int>((size_t{200} << 20) / bytes) + 1;
  const AlignedArray weights = AllocateAligned(bytes * num_copies);
  std::memset(weights.get(), 0x11, bytes * num_copies);
  const std::vector<float> x = RandomFloats(size_t(num_rows) * num_inputs);
  const AlignedArray packed = AllocateAligned(PackedActivationBytes(type, num_rows, num_inputs));
  PackActivations(type, x.data(), num_inputs, num_rows, num_inputs, 0, num_rows, packed.get());
  std::vector<float> y(size_t(num_rows) * num_outputs);
  std::vector<double> totals(y.size());
  int copy = 0;
  for (auto _ : state) {
    const PackedMatrix w{type, num_outputs, num_inputs, weights.get() + bytes * copy};
    if (segment_inputs == 0) {
      MatMul(w, packed.get(), num_rows, 0, num_rows, 0, num_outputs, y.data(), num_outputs);
    } else {
      MatMulTotals(w, packed.get(), num_rows, 0, num_rows, 0, num_outputs, segment_inputs,
                   totals.data(), num_outputs);
    }
    benchmark::ClobberMemory();
    copy = (copy + 1) % num_copies;
  }
  const double operations = 2.0 * num_inputs * num_outputs * num_rows * state.iterations();
  const double read = static_cast<double>(bytes) * state.iterations();
  using benchmark::Counter;
  state.counters["Gop/s"] = Counter(operations / 1e9, Counter::kIsRate);
  state.counters["GB/s"] = Counter(read / 1e9, Counter::kIsRate);
  state.counters["of_int8"] = Counter(operations / 1e9 / Int8Peak(), Counter::kIsRate);
  state.counters["of_read"] = Counter(read / 1e9 / ReadBandwidth(), Counter::kIsRate);
}

void RunPackActivations(benchmark::State& state, int num_inputs) {
  constexpr int kRows = 64;
  const std::vector<float> x = RandomFloats(size_t{kRows} * num_inputs);
  const AlignedArray packed =
      AllocateAligned(PackedActivationBytes(QuantType::kQ4_1, kRows, num_inputs));
  for (auto _ : state) {
    PackActivations(QuantType::kQ4_1, x.data(), num_inputs, kRows, num_inputs, 0, kRows,
                    packed.get());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kRows * num_inputs);
}

void RunRowOperations(benchmark::State& state) {
  constexpr int kRows = 64, kWidth = 1536;
  std::vector<float> gate = RandomFloats(kRows * kWidth), up = gate;
  for (auto _ : state) {
    SiluMul(gate.data(), kWidth, up.data(), kWidth, kRows, kWidth);
    RmsNorm(gate.data(), kWidth, up.data(), kRows, kWidth, 1e-5f, gate.data(), kWidth);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kRows * kWidth);
}

void RegisterAll() {
  const struct {
    QuantType type;
    int num_inputs, num_outputs;
    int segment_inputs = 0;  // 0: float32 results
  } kShapes[] = {{QuantType::kQ4_1, 576, 1536},      {QuantType::kQ4_1, 1536, 576},
                 {QuantType::kQ4_1, 1536, 576, 128}, {QuantType::kQ4_1, 576, 576},
                 {QuantType::kQ4_1, 576, 576, 192},  {QuantType::kQ8_0, 576, 49152},
                 {QuantType::kQ4_1, 4096, 4096},     {QuantType::kQ8_0, 1536, 576},
                 {QuantType::kQ4_0, 576, 1536},      {QuantType::kQ4_K, 1536, 576},
                 {QuantType::kQ6_K, 1536, 576},      {QuantType::kBF16, 576, 1536},
                 {QuantType::kF32, 576, 1536}};
  for (const auto& shape : kShapes) {
    for (const int num_rows : {1, 2, 4, 8, 16, 64, 512}) {
      std::string name = std::string("matmul/") + QuantTypeName(shape.type) + "/" +
                         std::to_string(shape.num_inputs) + "x" +
                         std::to_string(shape.num_outputs) + "/" + std::to_string(num_rows);
      if (shape.segment_inputs > 0) name += "/segment:" + std::to_string(shape.segment_inputs);
      benchmark::RegisterBenchmark(name.c_str(), [shape, num_rows](benchmark::State& state) {
        RunProduct(state, shape.type, shape.num_inputs, shape.num_outputs, num_rows,
                   shape.segment_inputs);
      });
    }
  }
  benchmark::RegisterBenchmark("pack_activations/576",
                               [](benchmark::State& state) { RunPackActivations(state, 576); });
  benchmark::RegisterBenchmark("silu_mul_rms_norm/1536", RunRowOperations);
}

const bool kRegistered = (RegisterAll(), true);

}  // namespace
}  // namespace skv::kernels
