#include "common/metrics.h"

#include <prometheus/check_names.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "absl/strings/match.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/status.h"

namespace skv {
namespace {

// Dashboards of other engines read names with their prefix; those are exported beside ours.
void CheckName(std::string_view name) {
  SKV_CHECK(absl::StartsWith(Sv(name), "skv_") || absl::StartsWith(Sv(name), "vllm:"))
      << "metric " << name << ": the name must begin with skv_";
  SKV_CHECK(prometheus::CheckMetricName(std::string(name))) << "metric " << name;
}

}  // namespace

std::vector<double> LatencyBuckets() {
  std::vector<double> buckets;
  for (double seconds = 0.001; seconds < 100; seconds *= 2) buckets.push_back(seconds);
  return buckets;
}

struct Metrics::Registry {
  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
};

// Series whose value is a function of the program's state.
class Metrics::StateReaders {
 public:
  void Add(prometheus::MetricType type, std::string_view name, std::string_view help,
           const MetricLabels& labels, std::function<double()> read) {
    CheckName(name);
    MutexLock lock(&mutex_);
    Family& family = families_[std::string(name)];
    SKV_CHECK(family.series.empty() || family.type == type)
        << "metric " << name << " is added with two types";
    family.type = type;
    family.help = std::string(help);
    family.series.push_back({labels, std::move(read)});
  }

  void AddGauges(std::string_view name, std::string_view help,
                 std::function<std::vector<Sample>()> read) {
    CheckName(name);
    MutexLock lock(&mutex_);
    SKV_CHECK(gauges_.emplace(name, Gauges{std::string(help), std::move(read)}).second)
        << "metric " << name << " is added twice";
  }

  std::vector<prometheus::MetricFamily> Collect() const {
    MutexLock lock(&mutex_);
    std::vector<prometheus::MetricFamily> collected;
    for (const auto& [name, gauges] : gauges_) {
      prometheus::MetricFamily out{name, gauges.help, prometheus::MetricType::Gauge, {}};
      for (const Sample& sample : gauges.read()) {
        out.metric.push_back(Read(out.type, {sample.labels, [&sample] { return sample.value; }}));
      }
      collected.push_back(std::move(out));
    }
    for (const auto& [name, family] : families_) {
      prometheus::MetricFamily out{name, family.help, family.type, {}};
      for (const Series& series : family.series) out.metric.push_back(Read(family.type, series));
      collected.push_back(std::move(out));
    }
    return collected;
  }

 private:
  struct Series {
    MetricLabels labels;
    std::function<double()> read;
  };
  struct Gauges {
    std::string help;
    std::function<std::vector<Sample>()> read;
  };
  struct Family {
    prometheus::MetricType type;
    std::string help;
    std::vector<Series> series;
  };

  static prometheus::ClientMetric Read(prometheus::MetricType type, const Series& series) {
    prometheus::ClientMetric metric;
    for (const auto& [name, value] : series.labels) metric.label.push_back({name, value});
    if (type == prometheus::MetricType::Gauge) {
      metric.gauge.value = series.read();
    } else {
      metric.counter.value = series.read();
    }
    return metric;
  }

  mutable Mutex mutex_;
  std::map<std::string, Family> families_ SKV_GUARDED_BY(mutex_);
  std::map<std::string, Gauges> gauges_ SKV_GUARDED_BY(mutex_);
};

Metrics::Metrics(MetricLabels labels)
    : labels_(std::move(labels)),
      readers_(std::make_unique<StateReaders>()),
      registry_(std::make_unique<Registry>()) {}

Metrics::~Metrics() = default;

MetricLabels Metrics::WithCommon(const MetricLabels& labels) const {
  MetricLabels all = labels;
  all.insert(labels_.begin(), labels_.end());
  return all;
}

prometheus::Counter& Metrics::AddCounter(std::string_view name, std::string_view help,
                                         const MetricLabels& labels) {
  CheckName(name);
  return prometheus::BuildCounter()
      .Name(std::string(name))
      .Help(std::string(help))
      .Register(registry_->registry)
      .Add(WithCommon(labels));
}

prometheus::Histogram& Metrics::AddHistogram(std::string_view name, std::string_view help,
                                             const std::vector<double>& buckets,
                                             const MetricLabels& labels) {
  CheckName(name);
  return prometheus::BuildHistogram()
      .Name(std::string(name))
      .Help(std::string(help))
      .Register(registry_->registry)
      .Add(WithCommon(labels), buckets);
}

void Metrics::AddGauge(std::string_view name, std::string_view help, const MetricLabels& labels,
                       std::function<double()> read) {
  readers_->Add(prometheus::MetricType::Gauge, name, help, WithCommon(labels), std::move(read));
}

void Metrics::AddGauge(std::string_view name, std::string_view help,
                       std::function<std::vector<Sample>()> read) {
  readers_->AddGauges(name, help, [this, read = std::move(read)] {
    std::vector<Sample> samples = read();
    for (Sample& sample : samples) sample.labels = WithCommon(sample.labels);
    return samples;
  });
}

void Metrics::AddCounterFrom(std::string_view name, std::string_view help,
                             const MetricLabels& labels, std::function<double()> read) {
  readers_->Add(prometheus::MetricType::Counter, name, help, WithCommon(labels), std::move(read));
}

std::string Metrics::Serialize() const {
  std::vector<prometheus::MetricFamily> all = registry_->registry.Collect();
  for (prometheus::MetricFamily& family : readers_->Collect()) all.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(all);
}

}  // namespace skv
