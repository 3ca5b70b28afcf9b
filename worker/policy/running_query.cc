#include "worker/policy/running_query.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace skv::policy {

RunningQuery::RunningQuery(int width, const Rule& rule)
    : rule_(rule), sum_(width, 0.0f), newest_(width, 0.0f) {}

void RunningQuery::Add(int sentence_begin, const float* query) {
  if (sentence_begin != sentence_begin_ && count_ > 0) {
    std::vector<float> mean(sum_.size());
    Mean(mean.data());
    previous_ = std::move(mean);
    std::fill(sum_.begin(), sum_.end(), 0.0f);
    count_ = 0;
  }
  sentence_begin_ = sentence_begin;
  for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += query[i];
  std::copy_n(query, newest_.size(), newest_.begin());
  ++count_;
}

void RunningQuery::Get(float* query) const {
  Mean(query);
  if (!rule_.blend_newest) return;
  for (size_t i = 0; i < newest_.size(); ++i) query[i] = (query[i] + newest_[i]) * 0.5f;
}

void RunningQuery::Mean(float* mean) const {
  const bool carry = rule_.carry && !previous_.empty() && count_ < kMinTokens;
  const auto missing = static_cast<float>(carry ? kMinTokens - count_ : 0);
  const auto total = static_cast<float>(carry ? kMinTokens : count_);
  for (size_t i = 0; i < sum_.size(); ++i) {
    const float sum = carry ? sum_[i] + missing * previous_[i] : sum_[i];
    mean[i] = sum / total;
  }
}

}  // namespace skv::policy
