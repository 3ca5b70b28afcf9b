#include "kernels/cpu/elementwise_body.h"

namespace skv::kernels {

const ElementwiseKernels kElementwiseAvx512 = {RmsNormRow, RopeHead, SiluMulRow, AddTotalsRow};

}  // namespace skv::kernels
