// skv-probe [seconds [megabytes ...]]: the machine's limits as one JSON object, for one thread and
// for all cores; read bandwidth for each size of what is read again and again (256 MB).

#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/probes.h"

int main(int argc, char** argv) {
  using namespace skv::kernels;
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0.5;
  if (!(seconds > 0 && seconds <= 60)) {
    std::fprintf(stderr, "usage: skv-probe [seconds per probe, 0 to 60 [megabytes ...]]\n");
    return 2;
  }
  const int all = static_cast<int>(std::thread::hardware_concurrency());
  const struct {
    const char* name;
    double (*measure)(int, double);
  } kProbes[] = {{"int8_gop_s", MeasureInt8Peak},
                 {"bf16_gop_s", MeasureBf16Peak},
                 {"f32_gop_s", MeasureF32Peak}};
  std::printf("{\"isa\": \"%s\", \"threads\": %d", IsaName(ActiveIsa()), all);
  for (const auto& probe : kProbes) {
    std::printf(", \"%s\": [%.1f, %.1f]", probe.name, probe.measure(1, seconds),
                probe.measure(all, seconds));
  }
  std::printf(", \"read_gb_s\": {");
  const std::vector<const char*> sizes =
      argc > 2 ? std::vector<const char*>(argv + 2, argv + argc) : std::vector{"256"};
  for (size_t i = 0; i < sizes.size(); ++i) {
    const size_t num_bytes = std::strtoul(sizes[i], nullptr, 10) * 1000000;
    if (num_bytes == 0) continue;
    std::printf("%s\"%zu\": [%.1f, %.1f]", i == 0 ? "" : ", ", num_bytes / 1000000,
                MeasureReadBandwidth(1, seconds, num_bytes),
                MeasureReadBandwidth(all, seconds, num_bytes));
  }
  std::printf("}}\n");
}
