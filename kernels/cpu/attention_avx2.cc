#include "kernels/cpu/attention_kernel.h"

namespace skv::kernels {

const AttentionPath& AttentionAvx2() { return kAttentionPath; }

}  // namespace skv::kernels
