#include "eval/cancel/scrape.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/http_get.h"
#include "common/status.h"

namespace skv::eval {
namespace {

constexpr auto kTimeout = std::chrono::seconds(20);

}  // namespace

absl::StatusOr<MetricValues> ScrapeMetrics(int port) {
  SKV_ASSIGN_OR_RETURN(const std::string text, HttpGet("127.0.0.1", port, "/metrics", kTimeout));
  MetricValues values;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const size_t space = line.rfind(' ');
    double value = 0;
    if (!absl::StartsWith(line, "#") && space != line.npos &&
        absl::SimpleAtod(line.substr(space + 1), &value)) {
      values[std::string(line.substr(0, space))] = value;
    }
  }
  return values;
}

absl::StatusOr<double> SumOf(const MetricValues& values, std::string_view name,
                             std::string_view label) {
  double sum = 0;
  bool found = false;
  for (const auto& [series, value] : values) {
    const std::string_view series_name = std::string_view(series).substr(0, series.find('{'));
    if (series_name != name || !absl::StrContains(series, Sv(label))) continue;
    sum += value;
    found = true;
  }
  if (!found) return absl::NotFoundError(absl::StrCat("no process exports ", Sv(name), Sv(label)));
  return sum;
}

}  // namespace skv::eval
