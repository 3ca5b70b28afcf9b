#include "kernels/cpu/probes.h"

#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/probe_loops.h"

namespace skv::kernels {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

// One thread's share: prepares, then yields the work done per call of the returned function.
using Probe = std::function<int64_t()>;

// The sum of all threads' rates, in 10^9 a second; each thread measures its own time after all of
// them are ready.
double MeasureRate(int num_threads, double seconds, const std::function<Probe()>& make_probe) {
  std::atomic<int> num_ready{0};
  std::vector<double> rates(num_threads);
  std::vector<std::thread> threads;
  for (int i = 0; i < num_threads; ++i) {
    threads.emplace_back([&, i] {
      const Probe probe = make_probe();
      probe();
      ++num_ready;
      while (num_ready < num_threads) std::this_thread::yield();
      const auto start = SteadyClock::now();
      int64_t work = 0;
      do {
        work += probe();
      } while (SecondsSince(start) < seconds);
      rates[i] = static_cast<double>(work) / SecondsSince(start) / 1e9;
    });
  }
  double total = 0;
  for (int i = 0; i < num_threads; ++i) {
    threads[i].join();
    total += rates[i];
  }
  return total;
}

double MeasureLoop(int num_threads, double seconds, int64_t (*loop)(int64_t)) {
  constexpr int64_t kIterations = 20000;
  return MeasureRate(num_threads, seconds, [loop] { return [loop] { return loop(kIterations); }; });
}

// In huge pages where the kernel gives them: page faults and walks are not what is measured.
Probe MakeReader(size_t num_bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t size = (num_bytes + kHugePage - 1) / kHugePage * kHugePage;
  std::shared_ptr<std::byte> data(static_cast<std::byte*>(std::aligned_alloc(kHugePage, size)),
                                  std::free);
  madvise(data.get(), size, MADV_HUGEPAGE);
  std::memset(data.get(), 1, size);
  return [data, num_bytes, sink = int64_t{0}]() mutable {
    sink ^= ReadAll(data.get(), num_bytes);
    asm volatile("" : : "r"(sink));
    return static_cast<int64_t>(num_bytes);
  };
}

}  // namespace

double MeasureReadBandwidth(int num_threads, double seconds, size_t num_bytes) {
  constexpr size_t kUnit = 512;  // ReadAll's
  if (BestIsa() < Isa::kAvx2) return 0;
  const size_t part = (num_bytes / num_threads + kUnit - 1) / kUnit * kUnit;
  return MeasureRate(num_threads, seconds, [part] { return MakeReader(part); });
}

double MeasureInt8Peak(int num_threads, double seconds) {
  if (BestIsa() >= Isa::kAvx512Vnni) {
    return MeasureLoop(num_threads, seconds, RunInt8LoopAvx512Vnni);
  }
  return BestIsa() >= Isa::kAvx2 ? MeasureLoop(num_threads, seconds, RunInt8LoopAvx2) : 0;
}

double MeasureBf16Peak(int num_threads, double seconds) {
  if (BestIsa() < Isa::kAvx512Bf16) return 0;
  return MeasureLoop(num_threads, seconds, RunBf16LoopAvx512Bf16);
}

double MeasureF32Peak(int num_threads, double seconds) {
  if (BestIsa() >= Isa::kAvx512Bf16) return MeasureLoop(num_threads, seconds, RunF32LoopAvx512);
  return BestIsa() >= Isa::kAvx2 ? MeasureLoop(num_threads, seconds, RunF32LoopAvx2) : 0;
}

}  // namespace skv::kernels
