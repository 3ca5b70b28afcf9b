#include "worker/policy/packed_keys.h"

#include <algorithm>

#include "kernels/selection.h"

namespace skv::policy {

void PackKeys(const KvReader& kv, PositionRange positions, int head_dim, int first_number,
              std::vector<uint32_t>* index) {
  constexpr int kRows = 128;
  const int num_keys = positions.end - positions.begin;
  std::vector<float> rows(int64_t{std::min(kRows, num_keys)} * head_dim);
  index->resize(std::max(index->size(), kernels::IndexWords(first_number + num_keys, head_dim)));
  for (int begin = positions.begin; begin < positions.end; begin += kRows) {
    const int end = std::min(begin + kRows, positions.end);
    kv.ReadKeys(begin, end, rows.data());
    for (int t = begin; t < end; ++t) {
      kernels::PackIndexVector(rows.data() + int64_t{t - begin} * head_dim, head_dim,
                               first_number + t - positions.begin, index->data());
    }
  }
}

}  // namespace skv::policy
