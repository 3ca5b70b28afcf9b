#include "kernels/cpu/elementwise_body.h"

namespace skv::kernels {

const ElementwiseKernels kElementwiseScalar = {RmsNormRow, RopeHead, SiluMulRow, AddRow};

}  // namespace skv::kernels
