#include "kernels/cpu/key_sketch_body.h"
#include "kernels/cpu/key_sketch_pack_body.h"

namespace skv::kernels {

const KeySketchKernels kKeySketchAvx2 = {MakeSketch, PackQuery, ScoreRuns};

}  // namespace skv::kernels
