#pragma once
// Reads the metrics of a process, as a monitoring system does.

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace skv::eval {

// Values by series, e.g. "skv_process_resident_bytes{kind=\"anonymous\",rank=\"0\"}".
using MetricValues = std::map<std::string, double>;

// GET http://127.0.0.1:port/metrics within 20 s. Unavailable: nobody answers there, or not with
// 200.
absl::StatusOr<MetricValues> ScrapeMetrics(int port);

// Sum over the series of `name` that have `label` (kind="anonymous"; empty: all). NotFound without
// any: a metric that nobody exports is not zero.
absl::StatusOr<double> SumOf(const MetricValues& values, std::string_view name,
                             std::string_view label = "");

}  // namespace skv::eval
