#include "worker/backend/cpu_attention.h"

#include <algorithm>
#include <cmath>

#include "common/rounding.h"

namespace skv::backend {
namespace {

// Queries of one prefill piece, and entry groups of one decode piece.
constexpr int kQueryTile = 64;
constexpr int kGroupsPerPiece = 4;
// Pieces of a found task that threads share.
constexpr int kFoundPieces = 4;
// Of the last so many searches a thread the tasks are shared: the threads end together. Those
// before are attended by who has found them, while their keys are in its cache.
constexpr int kSharedSearches = 2;

kernels::AttentionShape KernelShape(const AttentionShape& shape) {
  return {shape.head_dim, shape.group_size,
          static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)))};
}

int NumGroups(const AttentionTask& task, int query) {
  return CeilDiv(task.first_visible + query, kernels::kAttentionGroup);
}

// Of query `query` of `task`, and of its result.
float* Address(const kernels::AttentionShape& shape, const AttentionTask& task, int query,
               Rows rows) {
  return rows.data + (task.query_row + query) * rows.stride +
         int64_t{task.kv_head} * shape.group_size * shape.head_dim;
}

// The states of groups [group_begin, group_end) of one query; states [all groups].
void FindStates(const kernels::AttentionShape& shape, const AttentionTask& task, int query, Rows q,
                int group_begin, int group_end, float* states, std::byte* scratch) {
  const size_t offset = size_t(group_begin) * kernels::AttentionStateFloats(shape);
  kernels::AttendGroups(shape, KernelRuns(task.runs), task.num_runs, Address(shape, task, query, q),
                        task.first_visible + query, group_begin, group_end, states + offset,
                        scratch);
}

}  // namespace

void CpuAttention::GrowScratch(const kernels::AttentionShape& shape) {
  for (AlignedBytes& bytes : scratch_) bytes.Grow(kernels::AttentionScratchBytes(shape));
}

void CpuAttention::Plan(const kernels::AttentionShape& shape,
                        std::span<const AttentionTask> tasks) {
  pieces_.clear();
  decodes_.clear();
  size_t state_floats = 0;
  for (const AttentionTask& task : tasks) {
    if (task.num_queries >= kQueryTile / 4) {
      for (int q = 0; q < task.num_queries; q += kQueryTile) {
        pieces_.push_back({&task, q, std::min(q + kQueryTile, task.num_queries), -1, 0, 0});
      }
      continue;
    }
    for (int q = 0; q < task.num_queries; ++q) {
      const int groups = NumGroups(task, q);
      const int decode = static_cast<int>(decodes_.size());
      decodes_.push_back({&task, q, groups, state_floats});
      state_floats += static_cast<size_t>(groups) * kernels::AttentionStateFloats(shape);
      for (int g = 0; g < groups; g += kGroupsPerPiece) {
        pieces_.push_back({&task, q, q + 1, decode, g, std::min(g + kGroupsPerPiece, groups)});
      }
    }
  }
  // Long tiles first: the last task to end is then a short one.
  std::stable_sort(pieces_.begin(), pieces_.end(), [](const auto& a, const auto& b) {
    const auto work = [](const Piece& p) {
      return p.decode >= 0 ? p.group_end - p.group_begin
                           : (p.task->first_visible + p.query_end) * (p.query_end - p.query_begin);
    };
    return work(a) > work(b);
  });
  states_.Grow(state_floats * sizeof(float));
  if (pieces_left_.size() < decodes_.size()) {
    pieces_left_ = std::vector<std::atomic<int>>(2 * decodes_.size());
  }
  for (size_t i = 0; i < decodes_.size(); ++i) {
    pieces_left_[i] = CeilDiv(decodes_[i].num_groups, kGroupsPerPiece);
  }
}

void CpuAttention::RunPiece(const Call& call, const Piece& piece, std::byte* scratch) {
  const AttentionTask& task = *piece.task;
  float* const result = Address(call.shape, task, piece.query_begin, call.out);
  if (piece.decode < 0) {
    kernels::AttendPrefill(call.shape, KernelRuns(task.runs), task.num_runs,
                           Address(call.shape, task, piece.query_begin, call.q), call.q.stride,
                           piece.query_end - piece.query_begin,
                           task.first_visible + piece.query_begin, result, call.out.stride,
                           scratch);
    return;
  }
  const Decode& decode = decodes_[piece.decode];
  float* const states = reinterpret_cast<float*>(states_.data()) + decode.state_offset;
  FindStates(call.shape, task, decode.query, call.q, piece.group_begin, piece.group_end, states,
             scratch);
  // Whoever ends a query's last piece merges its states, in list order.
  if (pieces_left_[piece.decode].fetch_sub(1, std::memory_order_acq_rel) == 1) {
    kernels::MergeGroups(call.shape, states, decode.num_groups, result);
  }
}

void CpuAttention::Attend(const AttentionShape& shape, std::span<const AttentionTask> tasks, Rows q,
                          Rows out) {
  if (tasks.empty()) return;
  const Call call = {KernelShape(shape), q, out};
  Plan(call.shape, tasks);
  GrowScratch(call.shape);
  pool_->ParallelFor(static_cast<int>(pieces_.size()), [&](int i, int thread) {
    RunPiece(call, pieces_[i], scratch_[thread].data());
  });
}

void CpuAttention::AttendFound(const AttentionShape& shape, int num_searches, TaskSearch find,
                               Rows q, Rows out) {
  const Call call = {KernelShape(shape), q, out};
  GrowScratch(call.shape);
  if (found_.size() < static_cast<size_t>(num_searches))
    found_ = std::vector<Found>(2 * num_searches);
  for (int i = 0; i < num_searches; ++i) found_[i].ready = false;
  const int first_shared = std::max(0, num_searches - kSharedSearches * pool_->num_threads());
  const int num_items = num_searches + (num_searches - first_shared) * kFoundPieces;
  pool_->ParallelFor(num_items, [&](int item, int thread) {
    std::byte* const scratch = scratch_[thread].data();
    if (item < num_searches) {
      Search(call, find, item, item >= first_shared, scratch);
    } else {
      const int piece = item - num_searches;
      AttendShare(call, &found_[first_shared + piece / kFoundPieces], piece % kFoundPieces,
                  scratch);
    }
  });
}

void CpuAttention::Search(const Call& call, TaskSearch find, int number, bool share,
                          std::byte* scratch) {
  Found& found = found_[number];
  const std::span<const AttentionTask> tasks = find(number);
  const size_t state_bytes = kernels::AttentionStateFloats(call.shape) * sizeof(float);
  found.shared = share && tasks.size() == 1 ? tasks.data() : nullptr;
  for (const AttentionTask& task : tasks) {
    const int num_groups = NumGroups(task, 0);
    found.states.Grow(num_groups * state_bytes);
    if (found.shared != nullptr) break;
    float* const states = reinterpret_cast<float*>(found.states.data());
    FindStates(call.shape, task, 0, call.q, 0, num_groups, states, scratch);
    kernels::MergeGroups(call.shape, states, num_groups, Address(call.shape, task, 0, call.out));
  }
  found.pieces_left.store(kFoundPieces, std::memory_order_relaxed);
  found.ready.store(true, std::memory_order_release);
  found.ready.notify_all();
}

void CpuAttention::AttendShare(const Call& call, Found* found, int piece, std::byte* scratch) {
  // Some thread is at it: searches are claimed before pieces.
  found->ready.wait(false, std::memory_order_acquire);
  if (found->shared == nullptr) return;
  const AttentionTask& task = *found->shared;
  const int num_groups = NumGroups(task, 0);
  const auto begin = [&](int i) { return i * num_groups / kFoundPieces; };
  float* const states = reinterpret_cast<float*>(found->states.data());
  if (begin(piece) < begin(piece + 1)) {
    FindStates(call.shape, task, 0, call.q, begin(piece), begin(piece + 1), states, scratch);
  }
  if (found->pieces_left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    kernels::MergeGroups(call.shape, states, num_groups, Address(call.shape, task, 0, call.out));
  }
}

}  // namespace skv::backend
