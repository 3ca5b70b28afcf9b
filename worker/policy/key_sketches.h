#pragma once
// Sketches (kernels/key_sketch.h) of the keys of one layer and KV head, in order of position: what
// a choice among found tokens reads instead of keys. Const calls are thread-safe.

#include <cstddef>
#include <vector>

#include "kernels/key_sketch.h"
#include "worker/policy/kv_policy.h"

namespace skv::policy {

class KeySketches {
 public:
  // Tokens get the numbers from `first` on.
  KeySketches(int head_dim, int first);

  // Where to keep them: `memory` has room for all that will be added, and outlives this and its
  // copies. Null: in memory of its own. REQUIRES: there are none yet
  void Place(std::byte* memory) { placed_ = memory; }

  // The tokens after all others: keys [num_keys, head_dim].
  void Add(const float* keys, int num_keys);

  int end() const { return first_ + num_keys_; }
  // Appends those of the tokens `numbers` that there are.
  void AppendRun(PositionRange numbers, std::vector<kernels::SketchRun>* runs) const;

  size_t size_bytes() const;

 private:
  int head_dim_;
  int first_;
  int num_keys_ = 0;
  std::vector<std::byte> own_;
  std::byte* placed_ = nullptr;
};

}  // namespace skv::policy
