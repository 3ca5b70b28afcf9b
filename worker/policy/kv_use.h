#pragma once
// What attention read, against what there was to read.

#include <cstdint>

namespace skv::policy {

// Sums over generated positions, layers and KV heads of one rank.
struct KvUse {
  int64_t positions = 0;  // generated positions that were computed, once each
  int64_t attended = 0;   // entries read
  int64_t visible = 0;    // entries that `full` would have read
  // Keys, and values, that the policy read to choose, each counted by itself; an entry has both.
  int64_t scanned = 0;
  // Of these, keys of what was neither attended nor held in a slot, once each, and values: what
  // choosing needs beside what is attended.
  int64_t scanned_beside = 0;
  int64_t sketch_bytes = 0;  // sketches of keys (kernels/key_sketch.h) read to choose
  int64_t index_bytes = 0;   // of the policy's own index, read at most once a position

  KvUse& operator+=(const KvUse& other) {
    positions += other.positions;
    attended += other.attended;
    visible += other.visible;
    scanned += other.scanned;
    scanned_beside += other.scanned_beside;
    sketch_bytes += other.sketch_bytes;
    index_bytes += other.index_bytes;
    return *this;
  }
  bool operator==(const KvUse&) const = default;
};

}  // namespace skv::policy
