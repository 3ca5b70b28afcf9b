#pragma once
// The inner loops of the probes, one file per instruction set; internal to kernels/cpu/probes.cc.

#include <cstddef>
#include <cstdint>

namespace skv::kernels {

// Runs `iterations` passes over independent accumulators; returns the operations done.
int64_t RunF32LoopAvx2(int64_t iterations);
int64_t RunF32LoopAvx512(int64_t iterations);
int64_t RunInt8LoopAvx2(int64_t iterations);
int64_t RunInt8LoopAvx512Vnni(int64_t iterations);
int64_t RunBf16LoopAvx512Bf16(int64_t iterations);

// Reads `bytes` (a multiple of 512) in order; returns a value that depends on all of them.
int64_t ReadAll(const std::byte* data, size_t bytes);

}  // namespace skv::kernels
