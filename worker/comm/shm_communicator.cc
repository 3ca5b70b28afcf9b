#include "worker/comm/shm_communicator.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/clock.h"
#include "common/futex.h"
#include "common/status.h"
#include "worker/comm/shm_segment.h"

// Rounds. A collective is a series of rounds, numbered alike on all ranks. A rank publishes n on
// its line once it has read all that it needs of round n - 1 and has put its part of n, if it has
// one, into its slot of that parity, with the call that the round belongs to beside it. So what it
// left there in round n - 2 may be overwritten once every rank has published n - 1: EnterRound
// waits for that, on every rank and in every round, and it is nearly always true already.

namespace skv::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr size_t kSlotFloats = kSlotBytes / sizeof(float);
constexpr nanoseconds kMinSpin{500};
// Longer than most gaps between the steps of a busy group, short enough to leave an idle one
// asleep.
constexpr milliseconds kYield{1};
// How long a sleeper goes without looking whether its peers are alive.
constexpr milliseconds kLivenessCheck{50};

enum class Op : uint64_t { kSumFloats = 1, kSumDoubles = 2, kBroadcast = 3, kGather = 4 };

// One call of a collective on this rank.
struct Call {
  Op op;
  uint64_t count;  // 0 for kBroadcast: only rank 0 knows
  milliseconds timeout;
  std::optional<TimePoint> deadline;  // set when the first wait gets long

  uint64_t tag() const { return static_cast<uint64_t>(op) << 56 | count; }
};

std::string DescribeTag(uint64_t tag) {
  const uint64_t count = tag & ((uint64_t{1} << 56) - 1);
  switch (static_cast<Op>(tag >> 56)) {
    case Op::kSumFloats:
      return absl::StrCat("AllReduceSum of ", count, " floats");
    case Op::kSumDoubles:
      return absl::StrCat("AllReduceSum of ", count, " doubles");
    case Op::kBroadcast:
      return "Broadcast";
    case Op::kGather:
      return absl::StrCat("Gather of at most ", count, " floats a rank");
  }
  return absl::StrCat("unknown call ", tag);
}

// True when `seen` is `round` or after it; the counter wraps.
bool HasReached(int32_t seen, uint32_t round) {
  return static_cast<int32_t>(static_cast<uint32_t>(seen) - round) >= 0;
}

// out[i] = (parts[0][i] + parts[1][i]) + ...; out may be one of the parts.
template <typename T>
void SumInOrder(const T* const* parts, int num_parts, size_t count, T* out) {
  constexpr size_t kBlock = 64;  // a constant trip count lets the compiler use vectors
  T sum[kBlock];
  size_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    for (size_t j = 0; j < kBlock; ++j) sum[j] = parts[0][i + j] + parts[1][i + j];
    for (int part = 2; part < num_parts; ++part) {
      for (size_t j = 0; j < kBlock; ++j) sum[j] += parts[part][i + j];
    }
    std::memcpy(out + i, sum, sizeof(sum));
  }
  for (; i < count; ++i) {
    T tail = parts[0][i] + parts[1][i];
    for (int part = 2; part < num_parts; ++part) tail += parts[part][i];
    out[i] = tail;
  }
}

// How many of `count` floats the round carries that begins at `done`.
size_t ChunkOf(size_t count, size_t done) {
  return std::min(kSlotFloats, count - std::min(count, done));
}

// Shards may be empty, and then null.
void CopyFloats(float* to, const float* from, size_t count) {
  if (count > 0) std::memmove(to, from, count * sizeof(float));
}

int NumUsableCores() {
  cpu_set_t cores;
  return sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : 1;
}

class ShmCommunicator : public Communicator {
 public:
  ShmCommunicator(std::unique_ptr<ShmSegment> segment, const ShmOptions& options)
      : segment_(std::move(segment)),
        rank_(options.rank),
        world_size_(options.world_size),
        call_timeout_(options.call_timeout),
        max_spin_(NumUsableCores() < world_size_ ? nanoseconds(0) : options.max_spin),
        spin_(max_spin_),
        round_(static_cast<uint32_t>(segment_->lines(rank_).round.load())) {}

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  absl::Status AllReduceSum(float* data, size_t count) override {
    return Sum(Op::kSumFloats, data, count);
  }
  absl::Status AllReduceSum(double* data, size_t count) override {
    return Sum(Op::kSumDoubles, data, count);
  }
  absl::Status Broadcast(std::string* message, int timeout_ms) override;
  absl::Status Gather(const float* shard, const size_t* counts, float* out) override;
  void Abort(const absl::Status& why) override {
    segment_->Break(absl::StatusCode::kAborted, StdSv(why.message())).IgnoreError();
  }

 private:
  template <typename T>
  absl::Status Sum(Op op, T* data, size_t count);
  absl::Status SendMessage(const std::string& message, Call* call);
  absl::Status ReceiveMessage(std::string* message, Call* call);
  absl::Status ReceiveShards(const float* shard, const size_t* counts, size_t done, float* out,
                             Call* call);

  // The steps of a round, in this order; between the first two its slot is the rank's to write, and
  // a rank that needs nobody's part leaves the last out.
  absl::Status EnterRound(Call* call);
  char* OwnSlot() const { return segment_->slot(rank_, round_); }
  void Publish(const Call& call);
  absl::Status AwaitPart(int peer, Call* call);

  absl::Status AwaitRound(int peer, uint32_t round, Call* call);
  bool BusyWait(const std::atomic<int32_t>& word, uint32_t round);
  absl::Status Sleep(int peer, uint32_t round, Call* call);
  absl::Status CheckPeersAlive(uint32_t round, const Call& call);
  absl::Status TimeOut(uint32_t round, const Call& call);

  const std::unique_ptr<ShmSegment> segment_;
  const int rank_;
  const int world_size_;
  const milliseconds call_timeout_;
  const nanoseconds max_spin_;
  nanoseconds spin_;
  uint32_t round_;  // the last that this rank has entered
};

template <typename T>
absl::Status ShmCommunicator::Sum(Op op, T* data, size_t count) {
  constexpr size_t kSlotElements = kSlotBytes / sizeof(T);
  SKV_RETURN_IF_ERROR(segment_->CheckWhole());
  if (world_size_ == 1) return absl::OkStatus();
  Call call{op, count, call_timeout_};
  std::array<const T*, kMaxShmRanks> parts;
  for (size_t done = 0; done < count; done += kSlotElements) {
    const size_t n = std::min(kSlotElements, count - done);
    SKV_RETURN_IF_ERROR(EnterRound(&call));
    std::memcpy(OwnSlot(), data + done, n * sizeof(T));
    Publish(call);
    for (int peer = 0; peer < world_size_; ++peer) {
      SKV_RETURN_IF_ERROR(AwaitPart(peer, &call));
      parts[peer] = reinterpret_cast<const T*>(segment_->slot(peer, round_));
    }
    parts[rank_] = data + done;
    SumInOrder(parts.data(), world_size_, n, data + done);
  }
  return absl::OkStatus();
}

absl::Status ShmCommunicator::Broadcast(std::string* message, int timeout_ms) {
  SKV_RETURN_IF_ERROR(segment_->CheckWhole());
  Call call{Op::kBroadcast, 0, milliseconds(timeout_ms)};
  return rank_ == 0 ? SendMessage(*message, &call) : ReceiveMessage(message, &call);
}

// The first round carries the size (8 bytes) and the beginning, the others the rest.
absl::Status ShmCommunicator::SendMessage(const std::string& message, Call* call) {
  const uint64_t size = message.size();
  if (size > kMaxBroadcastBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("Broadcast of ", size, " bytes, at most ", kMaxBroadcastBytes, " are sent"));
  }
  size_t done = 0;
  size_t prefix = sizeof(size);
  do {
    SKV_RETURN_IF_ERROR(EnterRound(call));
    char* slot = OwnSlot();
    std::memcpy(slot, &size, prefix);
    const size_t n = std::min(kSlotBytes - prefix, message.size() - done);
    std::memcpy(slot + prefix, message.data() + done, n);
    Publish(*call);
    done += n;
    prefix = 0;
  } while (done < message.size());
  return absl::OkStatus();
}

absl::Status ShmCommunicator::ReceiveMessage(std::string* message, Call* call) {
  uint64_t size = 0;
  size_t done = 0;
  size_t prefix = sizeof(size);
  do {
    SKV_RETURN_IF_ERROR(EnterRound(call));
    Publish(*call);
    SKV_RETURN_IF_ERROR(AwaitPart(0, call));
    const char* slot = segment_->slot(0, round_);
    if (prefix > 0) {
      std::memcpy(&size, slot, sizeof(size));
      if (size > kMaxBroadcastBytes) {
        return segment_->Break(absl::StatusCode::kInternal,
                               absl::StrCat("Broadcast announces ", size, " bytes, at most ",
                                            kMaxBroadcastBytes, " are sent"));
      }
      message->resize(size);
    }
    const size_t n = std::min<size_t>(kSlotBytes - prefix, size - done);
    std::memcpy(message->data() + done, slot + prefix, n);
    done += n;
    prefix = 0;
  } while (done < size);
  return absl::OkStatus();
}

absl::Status ShmCommunicator::Gather(const float* shard, const size_t* counts, float* out) {
  SKV_RETURN_IF_ERROR(segment_->CheckWhole());
  const size_t max_count = *std::max_element(counts, counts + world_size_);
  Call call{Op::kGather, max_count, call_timeout_};
  for (size_t done = 0; done < max_count; done += kSlotFloats) {
    if (rank_ == 0) {
      SKV_RETURN_IF_ERROR(ReceiveShards(shard, counts, done, out, &call));
      continue;
    }
    SKV_RETURN_IF_ERROR(EnterRound(&call));
    auto* slot = reinterpret_cast<float*>(OwnSlot());
    CopyFloats(slot, shard + std::min(done, counts[rank_]), ChunkOf(counts[rank_], done));
    Publish(call);
  }
  return absl::OkStatus();
}

// One round of Gather on rank 0: every rank's floats from `done` on.
absl::Status ShmCommunicator::ReceiveShards(const float* shard, const size_t* counts, size_t done,
                                            float* out, Call* call) {
  SKV_RETURN_IF_ERROR(EnterRound(call));
  Publish(*call);
  size_t first = 0;  // of the peer's shard in `out`
  for (int peer = 0; peer < world_size_; ++peer) {
    SKV_RETURN_IF_ERROR(AwaitPart(peer, call));
    const size_t offset = std::min(done, counts[peer]);
    const float* from = peer == rank_
                            ? shard + offset
                            : reinterpret_cast<const float*>(segment_->slot(peer, round_));
    CopyFloats(out + first + offset, from, ChunkOf(counts[peer], done));
    first += counts[peer];
  }
  return absl::OkStatus();
}

absl::Status ShmCommunicator::EnterRound(Call* call) {
  for (int peer = 0; peer < world_size_; ++peer) {
    SKV_RETURN_IF_ERROR(AwaitRound(peer, round_, call));
  }
  ++round_;
  return absl::OkStatus();
}

void ShmCommunicator::Publish(const Call& call) {
  RankLines& own = segment_->lines(rank_);
  own.tag[round_ & 1] = call.tag();
  // Sequentially consistent with Sleep: either we see the sleeper or it sees the round.
  own.round.store(static_cast<int32_t>(round_));
  if (own.num_sleeping.load() > 0) FutexWake(own.round, kMaxShmRanks, FutexScope::kShared);
}

absl::Status ShmCommunicator::AwaitPart(int peer, Call* call) {
  SKV_RETURN_IF_ERROR(AwaitRound(peer, round_, call));
  const uint64_t tag = segment_->lines(peer).tag[round_ & 1];
  if (tag == call->tag()) return absl::OkStatus();
  return segment_->Break(
      absl::StatusCode::kInternal,
      absl::StrCat("ranks make different calls: rank ", rank_, " is in ", DescribeTag(call->tag()),
                   ", ", segment_->Describe(peer), " in ", DescribeTag(tag)));
}

absl::Status ShmCommunicator::AwaitRound(int peer, uint32_t round, Call* call) {
  const std::atomic<int32_t>& word = segment_->lines(peer).round;
  if (HasReached(word.load(std::memory_order_acquire), round)) return absl::OkStatus();
  if (BusyWait(word, round)) return absl::OkStatus();
  return Sleep(peer, round, call);
}

// Spins, then gives the core to whoever wants it. The spin adapts: a wait that it does not cover
// halves it, since such a peer is late, or is not running because we hold its core.
bool ShmCommunicator::BusyWait(const std::atomic<int32_t>& word, uint32_t round) {
  const auto reached = [&] { return HasReached(word.load(std::memory_order_acquire), round); };
  const TimePoint start = RealClock().Now();
  TimePoint now = start;
  while (now - start < spin_) {
    for (int i = 0; i < 16; ++i) {
      if (reached()) {
        spin_ = std::min(max_spin_, spin_ * 2);
        return true;
      }
      CpuRelax();
    }
    now = RealClock().Now();
  }
  spin_ = std::min(max_spin_, std::max(kMinSpin, spin_ / 2));
  while (now - start < kYield) {
    sched_yield();
    if (reached()) return true;
    now = RealClock().Now();
  }
  return false;
}

absl::Status ShmCommunicator::Sleep(int peer, uint32_t round, Call* call) {
  if (!call->deadline) call->deadline = RealClock().Now() + call->timeout;
  RankLines& lines = segment_->lines(peer);
  lines.num_sleeping.fetch_add(1);
  absl::Status status;
  while (true) {
    const int32_t seen = lines.round.load();
    if (HasReached(seen, round)) break;
    status = segment_->CheckWhole();
    if (status.ok()) status = CheckPeersAlive(round, *call);
    const Duration left = *call->deadline - RealClock().Now();
    if (status.ok() && left <= Duration::zero()) status = TimeOut(round, *call);
    if (!status.ok()) break;
    FutexWait(lines.round, seen, FutexScope::kShared, std::min<Duration>(kLivenessCheck, left));
  }
  lines.num_sleeping.fetch_sub(1);
  return status;
}

absl::Status ShmCommunicator::CheckPeersAlive(uint32_t round, const Call& call) {
  for (int peer = 0; peer < world_size_; ++peer) {
    if (peer == rank_ || segment_->IsAlive(peer)) continue;
    // Looked at after its end: a peer may well leave once it has done its part.
    if (HasReached(segment_->lines(peer).round.load(), round)) continue;
    return segment_->Break(absl::StatusCode::kAborted,
                           absl::StrCat(DescribeTag(call.tag()), ": ", segment_->Describe(peer),
                                        " has died or left the group"));
  }
  return absl::OkStatus();
}

absl::Status ShmCommunicator::TimeOut(uint32_t round, const Call& call) {
  std::vector<std::string> missing;
  for (int peer = 0; peer < world_size_; ++peer) {
    if (!HasReached(segment_->lines(peer).round.load(), round)) {
      missing.push_back(segment_->Describe(peer));
    }
  }
  return segment_->Break(
      absl::StatusCode::kAborted,
      absl::StrCat(DescribeTag(call.tag()), ": ", absl::StrJoin(missing, ", "),
                   " did not arrive within the ", call.timeout.count(), " ms that rank ", rank_,
                   " waits: is it stopped or overloaded?"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> JoinShmGroup(const ShmOptions& options) {
  SKV_ASSIGN_OR_RETURN(std::unique_ptr<ShmSegment> segment, ShmSegment::Join(options));
  return std::make_unique<ShmCommunicator>(std::move(segment), options);
}

}  // namespace skv::comm
