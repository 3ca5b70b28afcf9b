namespace skv::kernels {
namespace {

// 12 int32 and 12 float accumulators, 4 vectors of quants, scales: 32 registers.
constexpr int kTilePanels = 2;
constexpr int kTileRows = 6;
constexpr int kFewRowsTile = 8;
constexpr int kOnePassAccumulators = 8;

}  // namespace
}  // namespace skv::kernels

#include "kernels/cpu/matmul_body.h"
#include "kernels/cpu/pack_activations_body.h"

namespace skv::kernels {

const MatMulKernels kMatMulAvx512Vnni = {PackRow, RunMatMul};

}  // namespace skv::kernels
