#include "kernels/cpu/selection_body.h"

namespace skv::kernels {

const SelectionKernels kSelectionAvx512 = {ScoreVectorsBody, WeightedSoftmaxBody, MeanOfRowsBody,
                                           CuboidOfRowsBody};

}  // namespace skv::kernels
