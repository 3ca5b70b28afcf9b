namespace skv::kernels {
namespace {

// 16 registers, two to a vector of 16 lanes.
constexpr int kTilePanels = 1;
constexpr int kTileRows = 4;
constexpr int kFewRowsTile = 4;

}  // namespace
}  // namespace skv::kernels

#include "kernels/cpu/matmul_body.h"
#include "kernels/cpu/pack_activations_body.h"

namespace skv::kernels {

const MatMulKernels kMatMulAvx2 = {PackRow, RunMatMul};

}  // namespace skv::kernels
