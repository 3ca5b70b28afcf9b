#include "eval/fidelity/key_reads.h"

#include <algorithm>

#include "worker/policy/position_ranges.h"

namespace skv::eval {

using policy::PositionRange;

void KeyReads::ReadKeys(int begin, int end, float* rows) const {
  kv_.ReadKeys(begin, end, rows);
  if (begin < end) read_.push_back({begin, end});
}

void KeyReads::ReadValues(int begin, int end, float* rows) const {
  kv_.ReadValues(begin, end, rows);
}

void KeyReads::ScoreKeys(const float* queries, int num_queries,
                         std::span<const PositionRange> ranges, float* scores,
                         int64_t score_stride) const {
  kv_.ScoreKeys(queries, num_queries, ranges, scores, score_stride);
  read_.insert(read_.end(), ranges.begin(), ranges.end());
}

void KeyReads::CountSketchBytes(int64_t bytes) const {
  kv_.CountSketchBytes(bytes);
  sketch_bytes_ += bytes;
}

int KeyReads::NumBeside(std::span<const PositionRange> attended) const {
  std::vector<PositionRange> sorted = read_;
  std::ranges::sort(sorted, {}, &PositionRange::begin);
  return static_cast<int>(policy::NumOutside(sorted, attended));
}

}  // namespace skv::eval
