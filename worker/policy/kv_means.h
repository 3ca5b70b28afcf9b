#pragma once
// KvUse in numbers that do not grow with the answer or the model.

#include "worker/policy/kv_use.h"

namespace skv::policy {

// Of a mean generated position, layer and KV head.
struct KvMeans {
  double attended_tokens = 0;  // read
  double visible_tokens = 0;   // what `full` would have read
  double read_share = 1;       // attended / visible; 1 where no position was computed

  bool operator==(const KvMeans&) const = default;
};

// `num_heads`: KV heads that each position of `use` went through, all layers together.
inline KvMeans MeansOf(const KvUse& use, int num_heads) {
  if (use.positions == 0 || use.visible == 0) return {};
  const double num_reads = static_cast<double>(use.positions) * num_heads;
  return {.attended_tokens = static_cast<double>(use.attended) / num_reads,
          .visible_tokens = static_cast<double>(use.visible) / num_reads,
          .read_share = static_cast<double>(use.attended) / static_cast<double>(use.visible)};
}

}  // namespace skv::policy
