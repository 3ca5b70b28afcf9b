#pragma once
// KvUse in numbers that do not grow with the answer or the model.

#include <cstddef>

#include "worker/policy/kv_use.h"

namespace skv::policy {

// The KV heads of one rank.
struct KvHeads {
  int count = 1;           // all layers together
  size_t entry_bytes = 1;  // of one token's key and value in one of them
};

// Of a mean generated position, layer and KV head.
struct KvMeans {
  double attended_tokens = 0;  // keys and values that attention read
  // What the policy read beside them to choose them (keys, values, sketches of keys, index), in
  // tokens whose key and value have as many bytes.
  double choosing_tokens = 0;
  double visible_tokens = 0;  // what `full` would have attended
  double read_share = 1;      // (attended + choosing) / visible; 1 where no position was computed

  bool operator==(const KvMeans&) const = default;
};

// `heads`: those that each position of `use` went through.
inline KvMeans MeansOf(const KvUse& use, const KvHeads& heads) {
  if (use.positions == 0 || use.visible == 0) return {};
  const double num_reads = static_cast<double>(use.positions) * heads.count;
  const double vector_bytes = static_cast<double>(heads.entry_bytes) / 2;
  const double choosing_bytes = static_cast<double>(use.scanned_beside) * vector_bytes +
                                static_cast<double>(use.sketch_bytes + use.index_bytes);
  KvMeans means{
      .attended_tokens = static_cast<double>(use.attended) / num_reads,
      .choosing_tokens = choosing_bytes / static_cast<double>(heads.entry_bytes) / num_reads,
      .visible_tokens = static_cast<double>(use.visible) / num_reads};
  means.read_share = (means.attended_tokens + means.choosing_tokens) / means.visible_tokens;
  return means;
}

}  // namespace skv::policy
