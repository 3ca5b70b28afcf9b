#pragma once
// A named, validated tensor inside the bytes of a model file.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/quant/quant_type.h"

namespace skv::loader {

// A matrix is rows of dims[0] values, one after the other without padding.
struct TensorView {
  std::string_view name;
  kernels::QuantType type = kernels::QuantType::kF32;
  std::array<int64_t, 4> dims = {1, 1, 1, 1};  // innermost first; 1 beyond num_dims
  int num_dims = 0;
  std::span<const std::byte> data;  // exactly the tensor; its start is as aligned as the file says

  int64_t num_rows() const { return dims[1] * dims[2] * dims[3]; }
  int64_t row_bytes() const {
    return dims[0] / kernels::BlockElements(type) * kernels::BlockBytes(type);
  }
};

}  // namespace skv::loader
