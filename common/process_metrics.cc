#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "common/metrics.h"
#include "common/version.h"

namespace skv {
namespace {

// The number behind "key:" in /proc/self/status; 0 where the kernel has no such line.
double StatusNumber(std::string_view key) {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line)) {
    if (line.size() <= key.size() || line.compare(0, key.size(), key) != 0) continue;
    if (line[key.size()] != ':') continue;
    double number = 0;
    std::istringstream(line.substr(key.size() + 1)) >> number;
    return number;
  }
  return 0;
}

double NumOpenFds() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  int count = -1;  // the one that lists them
  while (const dirent* entry = readdir(folder)) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

void AddProcessMetrics(Metrics* metrics) {
  metrics->AddGauge("skv_process_pid", "Process id.", {}, [] { return getpid(); });
  const struct {
    const char* kind;
    const char* key;
  } kKinds[] = {{"anonymous", "RssAnon"}, {"file", "RssFile"}, {"shmem", "RssShmem"}};
  for (const auto& [kind, key] : kKinds) {
    metrics->AddGauge("skv_process_resident_bytes", "Resident memory by what backs it.",
                      {{"kind", kind}}, [key = key] { return StatusNumber(key) * 1024; });
  }
  metrics->AddGauge("skv_process_open_fds", "Open file descriptors.", {}, NumOpenFds);
  metrics->AddGauge("skv_process_threads", "Threads.", {}, [] { return StatusNumber("Threads"); });
  metrics->AddCounterFrom("skv_process_cpu_seconds_total", "User and system time.", {}, CpuSeconds);
  metrics->AddGauge("skv_build_info", "1, labelled with the version.",
                    {{"version", std::string(Version())}}, [] { return 1; });
}

}  // namespace skv
