// skv-probe [seconds]: the machine's limits as one JSON object, for one thread and for all cores.

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/probes.h"

int main(int argc, char** argv) {
  using namespace skv::kernels;
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0.5;
  if (!(seconds > 0 && seconds <= 60)) {
    std::fprintf(stderr, "usage: skv-probe [seconds per probe, above 0, at most 60]\n");
    return 2;
  }
  const int all = static_cast<int>(std::thread::hardware_concurrency());
  const struct {
    const char* name;
    double (*measure)(int, double);
  } kProbes[] = {{"read_gb_s", MeasureReadBandwidth},
                 {"int8_gop_s", MeasureInt8Peak},
                 {"bf16_gop_s", MeasureBf16Peak},
                 {"f32_gop_s", MeasureF32Peak}};
  std::printf("{\"isa\": \"%s\", \"threads\": %d", IsaName(ActiveIsa()), all);
  for (const auto& probe : kProbes) {
    std::printf(", \"%s\": [%.1f, %.1f]", probe.name, probe.measure(1, seconds),
                probe.measure(all, seconds));
  }
  std::printf("}\n");
}
