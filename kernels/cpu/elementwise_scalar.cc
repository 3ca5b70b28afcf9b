#include "kernels/cpu/elementwise_body.h"

namespace skv::kernels {

const ElementwiseKernels kElementwiseScalar = {RmsNormRow, RopeHead, SiluMulRow, AddTotalsRow};

}  // namespace skv::kernels
