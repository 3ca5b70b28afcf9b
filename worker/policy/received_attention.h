#pragma once
// How much attention tokens receive, one query after the other.

#include <cstdint>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// scores[row * group_size + head, i] = what attention scores of indexed key i.
//   keys    [num_keys] indexed vectors (kernels/selection.h)
//   scores  [queries.num_rows * group_size, num_keys]
void ScoreIndexedKeys(const SequenceShape& shape, const QueryRows& queries, const uint32_t* keys,
                      int num_keys, float* scores);

// received[i] += the share that `scores` [num_keys] give key i in a softmax; overwrites the scores.
void AddShares(int num_keys, float* scores, float* received);

// Adds to received[i] what each query gives the token at `first` + i: its share in a softmax over
// the last `window` keys up to the query's own, in order of queries and of the heads of the group.
// Tokens before `first` take part in the softmax only. The bits do not depend on how queries are
// cut into calls.
//   received  [queries' last position + 1 - first]
void AddReceivedAttention(const SequenceShape& shape, const KvReader& kv, const QueryRows& queries,
                          int window, int first, float* received);

}  // namespace skv::policy
