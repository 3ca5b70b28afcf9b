#pragma once
// Metrics in Prometheus' text format. Names begin with skv_, carry a base unit (_seconds, _bytes)
// and, for counters, _total; labels come from closed sets, never from a request. A gauge is not set
// by hand: it is a function of the state, read at each scrape, so it cannot drift away from it.
//   Metrics metrics(MetricLabels{{"rank", "0"}});
//   prometheus::Counter& steps = metrics.AddCounter("skv_worker_steps_total", "Steps run.");
//   metrics.AddGauge("skv_worker_requests_running", "...", {}, [&] { return engine.NumRunning();
//   });

#include <prometheus/counter.h>
#include <prometheus/histogram.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skv {

using MetricLabels = std::map<std::string, std::string>;

// From 1 ms to about 65 s in powers of two: for latencies in seconds.
std::vector<double> LatencyBuckets();

// Thread-safe. Counters and histograms are updated without locks that a scrape holds for long.
// Names are constants of the program: a malformed one, or one type under the name of another, is a
// bug of ours and ends the process at start. Adding a name again with other labels adds a time
// series.
class Metrics {
 public:
  // `labels` go on every series, e.g. {{"role", "worker"}, {"rank", "0"}}.
  explicit Metrics(MetricLabels labels = {});
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The references live as long as this object; updating them is thread-safe.
  prometheus::Counter& AddCounter(std::string_view name, std::string_view help,
                                  const MetricLabels& labels = {});
  prometheus::Histogram& AddHistogram(std::string_view name, std::string_view help,
                                      const std::vector<double>& buckets,
                                      const MetricLabels& labels = {});

  // `read` runs on the thread that scrapes; it must be quick, and callable for as long as anything
  // may call Serialize. AddCounterFrom is for totals that other code already counts.
  void AddGauge(std::string_view name, std::string_view help, const MetricLabels& labels,
                std::function<double()> read);
  void AddCounterFrom(std::string_view name, std::string_view help, const MetricLabels& labels,
                      std::function<double()> read);

  // The same for series that come and go, e.g. one for each worker group there is: `read` gives all
  // that there are at a scrape. Its labels must come from a closed set, too.
  struct Sample {
    MetricLabels labels;
    double value = 0;
  };
  void AddGauge(std::string_view name, std::string_view help,
                std::function<std::vector<Sample>()> read);

  // All series, in the text format 0.0.4.
  std::string Serialize() const;

 private:
  struct Registry;
  class StateReaders;

  MetricLabels WithCommon(const MetricLabels& labels) const;

  const MetricLabels labels_;
  std::unique_ptr<StateReaders> readers_;
  std::unique_ptr<Registry> registry_;
};

// Adds what the kernel knows of this process: skv_process_pid, skv_process_resident_bytes by kind
// (anonymous, file, shmem), skv_process_open_fds, skv_process_threads,
// skv_process_cpu_seconds_total and skv_build_info{version}.
void AddProcessMetrics(Metrics* metrics);

}  // namespace skv
