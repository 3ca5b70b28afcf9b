#include "kernels/cpu/attention_kernel.h"

namespace skv::kernels {

const AttentionPath& AttentionAvx512Bf16() { return kAttentionPath; }

}  // namespace skv::kernels
