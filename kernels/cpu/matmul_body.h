#pragma once
// Register-tiled products for the vector instruction sets. Included by one file per instruction
// set, which defines beforehand what its registers hold: kTilePanels, kTileRows, kFewRowsTile and
// what block_dots.h asks for.
//
// A tile is kPanels panels by kRows rows. Loop order: panels outside, row tiles inside, so that a
// panel comes from memory once and stays in cache while all rows pass by.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/block_dots.h"
#include "kernels/cpu/dot_lanes.h"
#include "kernels/cpu/f32x16.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/packed_format.h"
#include "kernels/cpu/segment_sums.h"

namespace skv::kernels {
namespace {

struct Scales {
  F32x16 d, m;
};

template <PackedFormat kFormat>
Scales LoadHeader(const std::byte* group) {
  Scales header;
  header.d = LoadHalves(group);
  if constexpr (kFormat.has_min) header.m = LoadHalves(group + 2 * kPanelOutputs);
  return header;
}

template <PackedFormat kFormat>
Scales BlockScales(const Scales& header, const std::byte* block) {
  Scales scales = header;
  if constexpr (kFormat.two_level) {
    scales.d = Mul(header.d, kFormat.signed_scales ? LoadInt8s(block) : LoadUint8s(block));
    if constexpr (kFormat.has_min) {
      scales.m = Mul(header.m, Sub(Zero(), LoadUint8s(block + kPanelOutputs)));
    }
  }
  if constexpr (!kFormat.has_min) scales.m = Mul(scales.d, Set1(-kFormat.offset));
  return scales;
}

// What one tile reads and writes.
struct TileArgs {
  const std::byte* panel;
  size_t panel_bytes;
  const std::byte* rows;
  size_t row_stride;
  int num_inputs;
  float* y = nullptr;
  int64_t y_stride;
  int num_outputs;  // of the tile: less than kPanels * kPanelOutputs at the matrix's end
};

template <int kPanels, int kRows>
void StoreTile(const TileArgs& args, const F32x16 (&sum)[kPanels][kRows]) {
#pragma GCC unroll kUnroll
  for (int p = 0; p < kPanels; ++p) {
    const int n = args.num_outputs - p * kPanelOutputs;
#pragma GCC unroll kUnroll
    for (int r = 0; r < kRows; ++r) {
      float* y = args.y + r * args.y_stride + p * kPanelOutputs;
      if (n >= kPanelOutputs) {
        Store(y, sum[p][r]);
      } else {
        StorePartial(y, sum[p][r], n);
      }
    }
  }
}

template <PackedFormat kFormat, int kPanels, int kRows>
__attribute__((noinline)) void QuantizedTile(const TileArgs& args) {
  F32x16 sum[kPanels][kRows];
  for (auto& panel : sum) {
    for (F32x16& lane : panel) lane = Zero();
  }
  const std::byte* group = args.panel;
  const std::byte* row = args.rows;
  const size_t panel_bytes = args.panel_bytes, row_stride = args.row_stride;
  for (int k = 0; k < args.num_inputs; k += kFormat.GroupElements()) {
    Scales header[kPanels];
#pragma GCC unroll kUnroll
    for (int p = 0; p < kPanels; ++p) {
      header[p] = LoadHeader<kFormat>(group + p * panel_bytes);
    }
    const std::byte* block = group + kFormat.HeaderBytes();
    for (int i = 0; i < kFormat.blocks_per_group; ++i) {
      const Dots<kPanels, kRows> dots = BlockDots<kFormat, kPanels, kRows>(
          block + kFormat.ScaleBytes(), panel_bytes, row + 8, row_stride);
#pragma GCC unroll kUnroll
      for (int p = 0; p < kPanels; ++p) {
        const Scales scales = BlockScales<kFormat>(header[p], block + p * panel_bytes);
#pragma GCC unroll kUnroll
        for (int r = 0; r < kRows; ++r) {
          float s[2];
          std::memcpy(s, row + r * row_stride, sizeof(s));
          sum[p][r] = Fma(scales.m, Set1(s[1]), sum[p][r]);
          sum[p][r] = Fma(ToFloat(dots.of[p][r]), Mul(scales.d, Set1(s[0])), sum[p][r]);
        }
      }
      block += kFormat.BlockBytes();
      row += kFormat.ActivationBlockBytes();
    }
    group += kFormat.GroupBytes();
  }
  StoreTile(args, sum);
}

template <QuantType kType>
F32x16 LoadWeights(const std::byte* p) {
  if constexpr (kType == QuantType::kF16) return LoadHalves(p);
  if constexpr (kType == QuantType::kBF16) return LoadBfloat16s(p);
  return Load(reinterpret_cast<const float*>(p));
}

template <QuantType kType, int kPanels, int kRows>
__attribute__((noinline)) void FloatTile(const TileArgs& args) {
  constexpr int kStepBytes = kPanelOutputs * (kType == QuantType::kF32 ? 4 : 2);
  F32x16 sum[kPanels][kRows];
  for (auto& panel : sum) {
    for (F32x16& lane : panel) lane = Zero();
  }
  const std::byte* weights = args.panel;
  const std::byte* row = args.rows;
  for (int k = 0; k < args.num_inputs; ++k) {
    F32x16 w[kPanels];
#pragma GCC unroll kUnroll
    for (int p = 0; p < kPanels; ++p) w[p] = LoadWeights<kType>(weights + p * args.panel_bytes);
#pragma GCC unroll kUnroll
    for (int r = 0; r < kRows; ++r) {
      const F32x16 x = Set1(*reinterpret_cast<const float*>(row + r * args.row_stride));
#pragma GCC unroll kUnroll
      for (int p = 0; p < kPanels; ++p) sum[p][r] = Fma(x, w[p], sum[p][r]);
    }
    weights += kStepBytes;
    row += sizeof(float);
  }
  StoreTile(args, sum);
}

// The tile function of one weight type.
template <QuantType kType, int kPanels, int kRows>
void SumTile(const TileArgs& args) {
  if constexpr (IsFloatType(kType)) {
    FloatTile<kType, kPanels, kRows>(args);
  } else {
    QuantizedTile<FormatOf(kType), kPanels, kRows>(args);
  }
}

// Where the double totals of a tile go, and how its inputs are cut.
struct TotalsArgs {
  double* totals;  // null: float32 results are wanted
  int segment_inputs;
  size_t segment_panel_bytes, segment_row_bytes;
};

// Segments whose sums wait in cache until they are added to the totals at once.
constexpr int kPendingSegments = 16;

template <int kPanels, int kRows>
using TileSums = float[kRows][kPanels][kPanelOutputs];

// totals += the sums of `num_pending` segments.
template <int kPanels, int kRows>
void AddToTotals(const TileSums<kPanels, kRows>* pending, int num_pending,
                 F64x16 (&totals)[kRows][kPanels]) {
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPanels; ++p) {
      F64x16 total = totals[r][p];
      for (int i = 0; i < num_pending; ++i) total = AddSegment(total, pending[i][r][p]);
      totals[r][p] = total;
    }
  }
}

template <int kPanels, int kRows>
void StoreTileTotals(const F64x16 (&totals)[kRows][kPanels], int num_outputs, double* dst,
                     int64_t stride) {
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPanels; ++p) {
      const int n = num_outputs - p * kPanelOutputs;
      double* const to = dst + r * stride + p * kPanelOutputs;
      if (n >= kPanelOutputs) {
        StoreTotals(to, totals[r][p]);
      } else {
        double lanes[kPanelOutputs];
        StoreTotals(lanes, totals[r][p]);
        std::copy_n(lanes, n, to);
      }
    }
  }
}

// Runs a tile segment by segment; `sum_tile` puts the sums of one into float32 rows.
template <int kPanels, int kRows>
__attribute__((noinline)) void TotalTile(const TileArgs& args, const TotalsArgs& totals_args,
                                         void (*sum_tile)(const TileArgs&)) {
  alignas(64) TileSums<kPanels, kRows> pending[kPendingSegments];
  F64x16 totals[kRows][kPanels];
  for (auto& row : totals) {
    for (F64x16& lanes : row) lanes = EmptyTotals();
  }
  TileArgs segment = args;
  segment.y_stride = kPanels * kPanelOutputs;
  segment.num_outputs = kPanels * kPanelOutputs;
  for (int left = args.num_inputs; left > 0;) {
    int num_pending = 0;
    for (; left > 0 && num_pending < kPendingSegments; left -= segment.num_inputs) {
      segment.num_inputs = std::min(left, totals_args.segment_inputs);
      segment.y = pending[num_pending++][0][0];
      sum_tile(segment);
      segment.panel += totals_args.segment_panel_bytes;
      segment.rows += totals_args.segment_row_bytes;
    }
    AddToTotals<kPanels, kRows>(pending, num_pending, totals);
  }
  StoreTileTotals<kPanels, kRows>(totals, args.num_outputs, totals_args.totals, args.y_stride);
}

// The largest tile that fits `num_rows` rows; returns its rows.
template <QuantType kType, int kPanels, int kRows>
int RunLargestTile(const TileArgs& args, const TotalsArgs& totals, int num_rows) {
  if constexpr (kRows > 1) {
    if (num_rows < kRows) {
      return RunLargestTile<kType, kPanels, (kRows > 4 ? 4 : kRows - 1)>(args, totals, num_rows);
    }
  }
  if (totals.totals == nullptr) {
    SumTile<kType, kPanels, kRows>(args);
  } else {
    TotalTile<kPanels, kRows>(args, totals, SumTile<kType, kPanels, kRows>);
  }
  return kRows;
}

// Up to this many rows run one panel at a time: the weights are then one sequential stream.
constexpr int kFewRows = 8;

template <QuantType kType, int kPanels>
void RunRows(const MatMulCall& call, TileArgs args, TotalsArgs totals) {
  for (int t = call.row_begin; t < call.row_end;) {
    constexpr int kMaxRows = kPanels == 1 ? kFewRowsTile : kTileRows;
    const int rows = RunLargestTile<kType, kPanels, kMaxRows>(args, totals, call.row_end - t);
    args.rows += rows * args.row_stride;
    if (totals.totals != nullptr) {
      totals.totals += rows * args.y_stride;
    } else {
      args.y += rows * args.y_stride;
    }
    t += rows;
  }
}

template <QuantType kType>
void MatMulOfType(const MatMulCall& call) {
  const PackedMatrix& w = *call.w;
  TileArgs args;
  args.panel_bytes = PanelBytes(kType, w.num_inputs);
  args.row_stride = ActivationStride(kType, w.num_inputs);
  args.num_inputs = w.num_inputs;
  args.rows = call.activations + call.row_begin * args.row_stride;
  args.y_stride = call.y_stride;
  TotalsArgs totals{nullptr, call.segment_inputs, PanelBytes(kType, call.segment_inputs),
                    ActivationBytes(kType, call.segment_inputs)};
  for (int n = call.output_begin; n < call.output_end;) {
    args.panel = w.data + size_t(n / kPanelOutputs) * args.panel_bytes;
    const int64_t first = call.row_begin * call.y_stride + n;
    if (call.totals != nullptr) {
      totals.totals = call.totals + first;
    } else {
      args.y = call.y + first;
    }
    args.num_outputs = call.output_end - n;
    if (call.row_end - call.row_begin > kFewRows &&
        args.num_outputs > (kTilePanels - 1) * kPanelOutputs) {
      RunRows<kType, kTilePanels>(call, args, totals);
      n += kTilePanels * kPanelOutputs;
    } else {
      RunRows<kType, 1>(call, args, totals);
      n += kPanelOutputs;
    }
  }
}

void RunMatMul(const MatMulCall& call) {
  switch (call.w->type) {
    case QuantType::kF32:
      return MatMulOfType<QuantType::kF32>(call);
    case QuantType::kF16:
      return MatMulOfType<QuantType::kF16>(call);
    case QuantType::kBF16:
      return MatMulOfType<QuantType::kBF16>(call);
    case QuantType::kQ4_0:
      return MatMulOfType<QuantType::kQ4_0>(call);
    case QuantType::kQ4_1:
      return MatMulOfType<QuantType::kQ4_1>(call);
    case QuantType::kQ5_0:
      return MatMulOfType<QuantType::kQ5_0>(call);
    case QuantType::kQ5_1:
      return MatMulOfType<QuantType::kQ5_1>(call);
    case QuantType::kQ8_0:
      return MatMulOfType<QuantType::kQ8_0>(call);
    case QuantType::kQ4_K:
      return MatMulOfType<QuantType::kQ4_K>(call);
    case QuantType::kQ5_K:
      return MatMulOfType<QuantType::kQ5_K>(call);
    case QuantType::kQ6_K:
      return MatMulOfType<QuantType::kQ6_K>(call);
  }
}

}  // namespace
}  // namespace skv::kernels
