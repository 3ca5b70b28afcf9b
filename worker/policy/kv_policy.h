#pragma once
// Which entries of a sequence's KV one query attends: the per-sequence state of a KV policy on one
// rank. Prompt positions always get exact causal attention; a policy speaks for generated
// positions, per layer and KV head. It knows nothing of where bytes lie or how they move. Engine
// thread only.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skv::policy {

// Positions [begin, end).
struct PositionRange {
  int begin;
  int end;
  bool operator==(const PositionRange&) const = default;
};

class KvPolicy {
 public:
  virtual ~KvPolicy() = default;

  virtual std::string name() const = 0;
  // True when every query attends everything: the model then runs replayed tokens as one chunk.
  virtual bool attends_all() const { return false; }

  // The prompt's keys and values of `layer` are complete. Called once a layer.
  virtual void OnPromptEnd(int layer) = 0;
  // Positions [0, num_tokens) of `layer` now have keys and values.
  virtual void OnAppend(int layer, int num_tokens) = 0;
  // Appends the positions that the query at num_visible - 1 attends, sorted and disjoint, to
  // `attended`; that position itself is always among them.
  virtual void Select(int layer, int kv_head, int num_visible,
                      std::vector<PositionRange>* attended) = 0;
};

// The policy `name` for one sequence. InvalidArgument lists the known ones.
absl::StatusOr<std::unique_ptr<KvPolicy>> CreatePolicy(std::string_view name);

}  // namespace skv::policy
