#include "worker/policy/key_sketches.h"

#include <algorithm>

namespace skv::policy {

KeySketches::KeySketches(int head_dim, int first) : head_dim_(head_dim), first_(first) {}

void KeySketches::Add(const float* keys, int num_keys) {
  const size_t row = kernels::KeySketchBytes(head_dim_), offset = num_keys_ * row;
  if (placed_ == nullptr) own_.resize(offset + num_keys * row);
  std::byte* const memory = placed_ == nullptr ? own_.data() : placed_;
  kernels::MakeKeySketches(keys, num_keys, head_dim_, memory + offset);
  num_keys_ += num_keys;
}

void KeySketches::AppendRun(PositionRange numbers, std::vector<kernels::SketchRun>* runs) const {
  const int begin = std::max(numbers.begin, first_), count = std::min(numbers.end, end()) - begin;
  if (count <= 0) return;
  const std::byte* const memory = placed_ == nullptr ? own_.data() : placed_;
  runs->push_back({memory + (begin - first_) * kernels::KeySketchBytes(head_dim_), count});
}

size_t KeySketches::size_bytes() const {
  return placed_ == nullptr ? own_.capacity() : num_keys_ * kernels::KeySketchBytes(head_dim_);
}

}  // namespace skv::policy
