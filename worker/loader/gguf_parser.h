#pragma once
// The GGUF format, versions 2 and 3, little-endian throughout:
//   1. "GGUF", uint32 version, uint64 number of tensors, uint64 number of metadata entries.
//   2. Each metadata entry: string key, uint32 type, value. A string is a uint64 length and bytes;
//      an array is a uint32 element type, a uint64 length and its elements. Arrays of arrays exist
//      in the specification, in no model file, and not here.
//   3. Each tensor: string name, uint32 number of dimensions (1 to 4), a uint64 per dimension, the
//      innermost first, uint32 type, uint64 offset into the data.
//   4. Padding to `general.alignment` (32 where the key is missing).
//   5. Data: each tensor at its offset, a multiple of the alignment, none inside another.
// Every length is hostile: it is checked against the bytes that are left before it is used, with
// sums and products that cannot overflow, and nothing is allocated in proportion to a number that
// the file merely claims.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/loader/gguf_metadata.h"
#include "worker/loader/tensor_view.h"

namespace skv::loader {

struct GgufContents {
  GgufMetadata metadata;
  std::vector<TensorView> tensors;  // in the file's order, names distinct
};

// All views in the result point into `bytes`. `file_name` stands in front of every error.
// DataLoss: not a well-formed file; says what, where, got and expected. Unimplemented: a version,
// byte order or tensor type that is not read here, with the ones that are.
absl::StatusOr<GgufContents> ParseGguf(std::span<const std::byte> bytes,
                                       const std::string& file_name);

}  // namespace skv::loader
