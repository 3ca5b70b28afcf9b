#include "text/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "common/status.h"
#include "text/utf8.h"

namespace skv::text {
namespace {

static_assert(StopSet::kMaxStopBytes <= UINT16_MAX);

std::vector<uint16_t> Borders(std::string_view stop) {
  std::vector<uint16_t> borders(stop.size() + 1, 0);
  uint16_t border = 0;
  for (size_t n = 1; n < stop.size(); ++n) {
    while (border > 0 && stop[n] != stop[border]) border = borders[border];
    if (stop[n] == stop[border]) ++border;
    borders[n + 1] = border;
  }
  return borders;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const StopSet>> StopSet::Create(std::vector<std::string> stops) {
  if (stops.size() > kMaxStops) {
    return absl::InvalidArgumentError(
        absl::StrFormat("stop: %u stop strings, at most %u are allowed", stops.size(), kMaxStops));
  }
  for (size_t idx = 0; idx < stops.size(); ++idx) {
    const std::string what = absl::StrFormat("stop[%u]", idx);
    if (stops[idx].empty() || stops[idx].size() > kMaxStopBytes) {
      return absl::InvalidArgumentError(absl::StrFormat("%s: %u bytes, expected 1 to %u", what,
                                                        stops[idx].size(), kMaxStopBytes));
    }
    SKV_RETURN_IF_ERROR(ValidateUtf8(stops[idx], what));
  }
  return std::shared_ptr<const StopSet>(new StopSet(std::move(stops)));
}

StopSet::StopSet(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) borders_.push_back(Borders(stop));
}

StopMatcher::StopMatcher(std::shared_ptr<const StopSet> stops)
    : stops_(std::move(stops)), num_matched_(stops_->size(), 0) {}

void StopMatcher::Advance(char c) {
  for (size_t idx = 0; idx < stops_->size(); ++idx) {
    const std::string& stop = stops_->stop(idx);
    size_t& num_matched = num_matched_[idx];
    while (num_matched > 0 && stop[num_matched] != c) {
      num_matched = stops_->Border(idx, num_matched);
    }
    if (stop[num_matched] == c) ++num_matched;
    const bool is_complete = num_matched == stop.size();
    if (is_complete && (!matched_stop_ || stop.size() > stops_->stop(*matched_stop_).size())) {
      matched_stop_ = idx;
    }
  }
}

StopMatcher::Result StopMatcher::Push(std::string_view text) {
  if (matched_stop_) return {"", matched_stop_};
  for (const char c : text) {
    held_.push_back(c);
    Advance(c);
    if (matched_stop_) {
      held_.resize(held_.size() - stops_->stop(*matched_stop_).size());
      return {std::exchange(held_, ""), matched_stop_};
    }
  }
  const size_t num_held =
      num_matched_.empty() ? 0 : *std::max_element(num_matched_.begin(), num_matched_.end());
  Result result{held_.substr(0, held_.size() - num_held), std::nullopt};
  held_.erase(0, held_.size() - num_held);
  return result;
}

std::string StopMatcher::Flush() { return std::exchange(held_, ""); }

}  // namespace skv::text
