#pragma once
// Attention of the CPU backend: a step's tasks cut into pieces for a thread pool. Where they are
// cut never shows in the bits (kernels/attention.h).

#include <atomic>
#include <cstddef>
#include <span>
#include <vector>

#include "common/thread_pool.h"
#include "kernels/attention.h"
#include "worker/backend/aligned_buffer.h"
#include "worker/backend/backend.h"

namespace skv::backend {

inline const kernels::KvRun* KernelRuns(const KvRun* runs) {
  static_assert(sizeof(KvRun) == sizeof(kernels::KvRun));
  return reinterpret_cast<const kernels::KvRun*>(runs);
}

// Calls come one at a time. Shapes and addresses: those of Backend.
class CpuAttention {
 public:
  // `pool` outlives it.
  explicit CpuAttention(ThreadPool* pool) : pool_(pool), scratch_(pool->num_threads()) {}

  // Backend::Attend and Backend::AttendFound.
  void Attend(const AttentionShape& shape, std::span<const AttentionTask> tasks, Rows q, Rows out);
  void AttendFound(const AttentionShape& shape, int num_searches, TaskSearch find, Rows q,
                   Rows out);

 private:
  struct Call {
    kernels::AttentionShape shape;
    Rows q, out;
  };
  // A tile of a task's queries, or a range of groups of one query.
  struct Piece {
    const AttentionTask* task;
    int query_begin, query_end;
    int decode;  // index into decodes_, -1: prefill tile
    int group_begin, group_end;
  };
  struct Decode {
    const AttentionTask* task;
    int query;
    int num_groups;
    size_t state_offset;  // floats into states_
  };
  // What a search has found.
  struct Found {
    std::atomic<bool> ready;
    const AttentionTask* shared;   // a task whose pieces any thread may take, or null
    std::atomic<int> pieces_left;  // of it
    AlignedBytes states;
  };

  void Plan(const kernels::AttentionShape& shape, std::span<const AttentionTask> tasks);
  void RunPiece(const Call& call, const Piece& piece, std::byte* scratch);
  // Finds, and attends what has been found unless others may share in it.
  void Search(const Call& call, TaskSearch find, int number, bool share, std::byte* scratch);
  void AttendShare(const Call& call, Found* found, int piece, std::byte* scratch);
  void GrowScratch(const kernels::AttentionShape& shape);

  ThreadPool* const pool_;
  std::vector<AlignedBytes> scratch_;  // one a thread
  std::vector<Piece> pieces_;
  std::vector<Decode> decodes_;
  std::vector<std::atomic<int>> pieces_left_;  // one a decode
  AlignedBytes states_;
  std::vector<Found> found_;  // one a search
};

}  // namespace skv::backend
