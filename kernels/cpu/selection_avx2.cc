#include "kernels/cpu/selection_body.h"

namespace skv::kernels {

const SelectionKernels kSelectionAvx2 = {ScoreVectorsBody, WeightedSoftmaxBody, GroupMassBody,
                                         GroupSumBody,     FindCutBody,         EntriesFromBody,
                                         MeanOfRowsBody,   CuboidOfRowsBody};

}  // namespace skv::kernels
