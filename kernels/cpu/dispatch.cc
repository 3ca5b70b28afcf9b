#include "kernels/cpu/dispatch.h"

#include <cpuid.h>

#include <cstdlib>
#include <cstring>

namespace skv::kernels {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avx512", "avx512vnni", "avx512bf16"};

// clang's __builtin_cpu_supports does not know this feature.
bool SupportsF16c() {
  unsigned eax, ebx, ecx = 0, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

Isa DetectIsa() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !SupportsF16c()) {
    return Isa::kScalar;
  }
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq")) {
    return Isa::kAvx2;
  }
  if (!__builtin_cpu_supports("avx512vnni")) return Isa::kAvx512;
  return __builtin_cpu_supports("avx512bf16") ? Isa::kAvx512Bf16 : Isa::kAvx512Vnni;
}

Isa ChooseIsa() {
  const Isa best = BestIsa();
  const char* wanted = std::getenv("SKV_ISA");
  if (wanted == nullptr) return best;
  for (int level = 0; level <= static_cast<int>(best); ++level) {
    if (std::strcmp(wanted, kNames[level]) == 0) return static_cast<Isa>(level);
  }
  return best;
}

}  // namespace

Isa BestIsa() {
  static const Isa isa = DetectIsa();
  return isa;
}

Isa ActiveIsa() {
  static const Isa isa = ChooseIsa();
  return isa;
}

const char* IsaName(Isa isa) { return kNames[static_cast<int>(isa)]; }

}  // namespace skv::kernels
