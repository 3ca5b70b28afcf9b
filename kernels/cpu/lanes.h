#pragma once
// Rows of any length in the lanes of f32x16.h. Included by the body that one file per instruction
// set includes; hence the unnamed namespace.

#include "kernels/cpu/f32x16.h"

namespace skv::kernels {
namespace {

// Calls op(offset, n) for every 16 of `count`, n < 16 only at the end.
template <typename Op>
void ForEachLanes(int count, Op op) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) op(i, kLanes);
  if (i < count) op(i, count - i);
}

// The first n lanes (1..16); the other lanes read as 0 and are not written.
F32x16 LoadLanes(const float* p, int n) { return n == kLanes ? Load(p) : LoadPartial(p, n); }

void StoreLanes(float* p, F32x16 a, int n) {
  if (n == kLanes) {
    Store(p, a);
  } else {
    StorePartial(p, a, n);
  }
}

}  // namespace
}  // namespace skv::kernels
