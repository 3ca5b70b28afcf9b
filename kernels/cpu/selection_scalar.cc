#include "kernels/cpu/selection_body.h"

namespace skv::kernels {

const SelectionKernels kSelectionScalar = {ScoreVectorsBody, WeightedSoftmaxBody, MeanOfRowsBody,
                                           CuboidOfRowsBody};

}  // namespace skv::kernels
