#pragma once
// What this machine can do at most: the yardsticks of the benchmarks. Each call keeps `num_threads`
// threads busy for about `seconds` and returns the rate of all of them together; 0 where the CPU
// lacks the instructions. Not part of the serving path.

#include <cstddef>

namespace skv::kernels {

// 10^9 bytes a second, reading `num_bytes` again and again, an equal part a thread, in order: what
// the caches keep of them counts, as it does for weights and KV that every step reads.
double MeasureReadBandwidth(int num_threads, double seconds, size_t num_bytes);
// 10^9 operations a second (a multiplication and an addition count as two), out of registers:
// unsigned by signed 8-bit dots into int32 (VNNI), bf16 dots into float32, float32 fused
// multiply-adds.
double MeasureInt8Peak(int num_threads, double seconds);
double MeasureBf16Peak(int num_threads, double seconds);
double MeasureF32Peak(int num_threads, double seconds);

}  // namespace skv::kernels
