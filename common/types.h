#pragma once
// Words that every module shares.

#include <cstdint>

namespace skv {

using TokenId = int32_t;      // an id of the model's vocabulary
using SequenceId = uint64_t;  // one stream of generated tokens, unique within a worker's life

}  // namespace skv
