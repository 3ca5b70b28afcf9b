#pragma once
// Which instruction set the kernels use: chosen once per process, the best that CPU and OS support,
// or the one that the environment variable SKV_ISA names (scalar, avx2, avx512, avx512vnni,
// avx512bf16), if it is supported. Every path yields the same bits (docs/arithmetic.md).

namespace skv::kernels {

// Each level includes the ones before it.
enum class Isa {
  kScalar = 0,      // portable C++, the emulation that the other paths are checked against
  kAvx2 = 1,        // AVX2, FMA, F16C
  kAvx512 = 2,      // AVX-512 F, BW, VL, DQ
  kAvx512Vnni = 3,  // and VNNI
  kAvx512Bf16 = 4,  // and BF16
};

// The best level of this machine.
Isa BestIsa();
// The level in use; constant over the life of the process. A name in SKV_ISA that is unknown or not
// supported here is ignored.
Isa ActiveIsa();
// "avx512vnni" etc.: a word of the numerics id.
const char* IsaName(Isa isa);

}  // namespace skv::kernels
