#include "eval/fidelity/logit_comparison.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace skv::eval {
namespace {

constexpr int kTop = 5;

double LogSumExp(std::span<const float> logits) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

double Divergence(std::span<const float> full, std::span<const float> policy) {
  const double full_sum = LogSumExp(full), policy_sum = LogSumExp(policy);
  double divergence = 0;
  for (size_t i = 0; i < full.size(); ++i) {
    const double log_p = full[i] - full_sum;
    divergence += std::exp(log_p) * (log_p - (policy[i] - policy_sum));
  }
  return divergence;
}

std::array<TokenId, kTop> TopIds(std::span<const float> logits) {
  std::vector<TokenId> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::array<TokenId, kTop> top;
  std::ranges::partial_sort_copy(ids, top, [&](TokenId a, TokenId b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  return top;
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / std::max<size_t>(1, values.size());
}

// Nearest rank.
double Percentile99(std::vector<double> values) {
  if (values.empty()) return 0;
  const size_t rank = (values.size() * 99 + 99) / 100;
  std::ranges::nth_element(values, values.begin() + rank - 1);
  return values[rank - 1];
}

}  // namespace

TokenId Argmax(std::span<const float> logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

double NegativeLogLikelihood(std::span<const float> logits, TokenId token) {
  return LogSumExp(logits) - logits[token];
}

void LogitComparison::Add(std::span<const float> full, std::span<const float> policy) {
  divergences_.push_back(Divergence(full, policy));
  top1_.push_back(Argmax(full) == Argmax(policy));
  const auto expected = TopIds(full), got = TopIds(policy);
  const auto found =
      std::ranges::count_if(expected, [&](TokenId id) { return std::ranges::count(got, id) > 0; });
  top5_.push_back(static_cast<double>(found) / kTop);
}

nlohmann::json LogitComparison::Summarize() const {
  return {{"f5_kl", Mean(divergences_)},
          {"f5_kl_p99", Percentile99(divergences_)},
          {"f6_top1", Mean(top1_)},
          {"f6_top5", Mean(top5_)},
          {"f7_free_run", std::ranges::find(top1_, 0.0) - top1_.begin()}};
}

}  // namespace skv::eval
