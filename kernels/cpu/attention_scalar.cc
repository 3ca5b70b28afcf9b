#include "kernels/cpu/attention_kernel.h"

namespace skv::kernels {

const AttentionPath& AttentionScalar() { return kAttentionPath; }

}  // namespace skv::kernels
