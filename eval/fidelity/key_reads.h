#pragma once
// Counts the keys, and sketches of keys, that a policy reads to choose. Not thread-safe: each
// selection has its own.

#include <cstdint>
#include <span>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::eval {

class KeyReads : public policy::KvReader {
 public:
  // `kv` outlives it.
  explicit KeyReads(const policy::KvReader* kv) : kv_(*kv) {}

  void ReadKeys(int begin, int end, float* rows) const override;
  void ReadValues(int begin, int end, float* rows) const override;
  void ScoreKeys(const float* queries, int num_queries,
                 std::span<const policy::PositionRange> ranges, float* scores,
                 int64_t score_stride) const override;

  void CountSketchBytes(int64_t bytes) const override;
  int64_t sketch_bytes() const { return sketch_bytes_; }

  // Positions of which a key was read that are not in `attended`, each counted once.
  int NumBeside(std::span<const policy::PositionRange> attended) const;

 private:
  const policy::KvReader& kv_;
  mutable std::vector<policy::PositionRange> read_;
  mutable int64_t sketch_bytes_ = 0;
};

}  // namespace skv::eval
