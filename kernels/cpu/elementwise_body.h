#pragma once
// One row of each operation in 16 lanes. Included by one file per instruction set, which exports
// the functions of its unnamed namespace as a table.

#include "kernels/cpu/elementwise_kernels.h"
#include "kernels/cpu/f32x16.h"
#include "kernels/cpu/lanes.h"

namespace skv::kernels {
namespace {

void RmsNormRow(const float* x, const float* weight, int hidden, float eps, float* y) {
  F32x16 squares = Zero();
  ForEachLanes(hidden, [&](int i, int n) {
    const F32x16 lanes = LoadLanes(x + i, n);
    squares = Fma(lanes, lanes, squares);
  });
  const float mean = ReduceAdd(squares) / static_cast<float>(hidden);
  const F32x16 scale = Set1(1.0f / __builtin_sqrtf(mean + eps));
  ForEachLanes(hidden, [&](int i, int n) {
    StoreLanes(y + i, Mul(Mul(LoadLanes(x + i, n), scale), LoadLanes(weight + i, n)), n);
  });
}

void RopeHead(float* x, int head_dim, const float* cos_sin) {
  ForEachLanes(head_dim, [&](int i, int n) {
    const F32x16 lanes = LoadLanes(x + i, n);
    const F32x16 table = LoadLanes(cos_sin + i, n);
    const F32x16 crossed = Mul(SwapPairs(lanes), DupOdd(table));
    StoreLanes(x + i, FmaAddSub(lanes, DupEven(table), crossed), n);
  });
}

void SiluMulRow(float* gate, const float* up, int width) {
  ForEachLanes(width, [&](int i, int n) {
    const F32x16 x = LoadLanes(gate + i, n);
    // x / (1 + e^-x), written with e^-|x| so that nothing overflows.
    const F32x16 e = Exp(Sub(Zero(), Abs(x)));
    const F32x16 numerator = SelectNegative(x, Mul(x, e), x);
    const F32x16 silu = Div(numerator, Add(Set1(1.0f), e));
    StoreLanes(gate + i, Mul(silu, LoadLanes(up + i, n)), n);
  });
}

void AddTotalsRow(float* x, const double* totals, int width) {
  for (int i = 0; i < width; ++i) x[i] += static_cast<float>(totals[i]);
}

}  // namespace
}  // namespace skv::kernels
