// skv_all_reduce_benchmark [ranks]
// Median time of an all-reduce of 576 doubles (one hidden state) between 2 processes or more,
// beside the round trip of one cache line between the same two, as one line of JSON:
//   {"allreduce_us":..,"allreduce_p99_us":..,"pingpong_us":..,"ratio":..,"large_us":..}
// large_us: 256 x 576 doubles, a prefill chunk.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/futex.h"
#include "common/log.h"
#include "worker/comm/shm_communicator.h"

namespace skv::comm {
namespace {

constexpr int kWarmUp = 2000;
constexpr int kRounds = 20'000;
constexpr int kLargeRounds = 500;

struct PingPong {
  alignas(64) std::atomic<int> ping{0};
  alignas(64) std::atomic<int> pong{0};
};

// Sorted times of `num_rounds` calls, in microseconds, after some that are not counted.
template <typename Body>
std::vector<double> Measure(int num_rounds, Body body) {
  std::vector<double> times;
  for (int i = -kWarmUp; i < num_rounds; ++i) {
    const TimePoint start = RealClock().Now();
    body(i + kWarmUp + 1);
    if (i >= 0) times.push_back(ToSeconds(RealClock().Now() - start) * 1e6);
  }
  std::sort(times.begin(), times.end());
  return times;
}

void Ping(PingPong* lines, int round) {
  lines->ping.store(round, std::memory_order_release);
  while (lines->pong.load(std::memory_order_acquire) != round) CpuRelax();
}

void Pong(PingPong* lines, int round) {
  while (lines->ping.load(std::memory_order_acquire) != round) CpuRelax();
  lines->pong.store(round, std::memory_order_release);
}

void RunRank(int rank, int world_size, const std::string& path, PingPong* lines) {
  ShmOptions options;
  options.path = path;
  options.rank = rank;
  options.world_size = world_size;
  auto group = JoinShmGroup(options);
  SKV_CHECK(group.ok()) << group.status();
  std::vector<double> data(256 * 576, 0.5);
  const auto all_reduce = [&](size_t count) {
    const absl::Status status = (*group)->AllReduceSum(data.data(), count);
    SKV_CHECK(status.ok()) << status;
  };
  const auto small = Measure(kRounds, [&](int) { all_reduce(576); });
  std::vector<double> ping_pong;
  if (rank < 2) {
    ping_pong =
        Measure(kRounds, [&](int round) { rank == 0 ? Ping(lines, round) : Pong(lines, round); });
  }
  const auto large = Measure(kLargeRounds, [&](int) { all_reduce(data.size()); });
  if (rank != 0) return;
  const double median = small[small.size() / 2];
  const double trip = ping_pong[ping_pong.size() / 2];
  std::printf(
      "{\"allreduce_us\":%.3f,\"allreduce_p99_us\":%.3f,\"pingpong_us\":%.3f,\"ratio\":%.2f,"
      "\"large_us\":%.1f}\n",
      median, small[small.size() * 99 / 100], trip, median / trip, large[large.size() / 2]);
}

int Main(int world_size) {
  SKV_CHECK(world_size >= 2 && world_size <= kMaxShmRanks) << "got " << world_size << " ranks";
  void* memory =
      mmap(nullptr, sizeof(PingPong), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  SKV_CHECK(memory != MAP_FAILED);
  auto* lines = new (memory) PingPong();
  const std::string path = "/dev/shm/skv_all_reduce_benchmark_" + std::to_string(getpid());
  std::vector<pid_t> children;
  for (int rank = 1; rank < world_size; ++rank) {
    children.push_back(fork());
    if (children.back() == 0) {
      RunRank(rank, world_size, path, lines);
      _exit(0);
    }
  }
  RunRank(0, world_size, path, lines);
  bool ok = true;
  for (const pid_t child : children) {
    int state = 0;
    ok &= waitpid(child, &state, 0) == child && state == 0;
  }
  return ok ? 0 : 1;
}

}  // namespace
}  // namespace skv::comm

int main(int argc, char** argv) { return skv::comm::Main(argc > 1 ? std::atoi(argv[1]) : 2); }
