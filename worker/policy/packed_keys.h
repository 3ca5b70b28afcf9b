#pragma once
// Keys of the cache as indexed vectors (kernels/selection.h), each token by itself.

#include <cstdint>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// The keys at `positions` become the vectors `first_number` and on of `index`, which grows as
// needed.
//   REQUIRES: positions are written; index holds the vectors before first_number
void PackKeys(const KvReader& kv, PositionRange positions, int head_dim, int first_number,
              std::vector<uint32_t>* index);

}  // namespace skv::policy
