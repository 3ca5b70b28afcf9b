#include "worker/model/testing/logits_golden.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace skv::model {
namespace {

constexpr const char* kFormat = "skv-logits-golden-1";

template <typename T>
std::vector<T> ReadArray(const nlohmann::json& header, const std::string& bytes, const char* name) {
  const nlohmann::json& spec = header.at("arrays").at(name);
  size_t count = 1;
  for (const auto& dim : spec.at("shape")) count *= dim.get<size_t>();
  std::vector<T> values(count);
  std::memcpy(values.data(), bytes.data() + spec.at("offset").get<size_t>(), count * sizeof(T));
  return values;
}

// Over the ids that `skip` does not name; `skip` is sorted.
double LogSumExp(std::span<const float> row, std::span<const uint16_t> skip = {}) {
  const double peak = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (size_t id = 0; id < row.size(); ++id) {
    if (std::binary_search(skip.begin(), skip.end(), id)) continue;
    sum += std::exp(row[id] - peak);
  }
  return std::log(sum) + peak;
}

}  // namespace

absl::StatusOr<LogitsGolden> LogitsGolden::Read(const std::string& path) {
  std::ifstream json(path + ".json"), binary(path + ".bin", std::ios::binary);
  if (!json || !binary) return absl::NotFoundError(absl::StrCat("no golden ", path, ".{json,bin}"));
  const std::string bytes{std::istreambuf_iterator<char>(binary), {}};
  const nlohmann::json header = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object() || header.value("format", "") != kFormat ||
      header.at("documents").size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ".json: expected format ", kFormat, " with one document"));
  }
  LogitsGolden golden;
  golden.vocab_size_ = header.at("vocab_size").get<int>();
  golden.top_ = header.at("top").get<int>();
  golden.tokens_ = ReadArray<TokenId>(header, bytes, "tokens");
  golden.positions_ = ReadArray<int32_t>(header, bytes, "position");
  golden.top_ids_ = ReadArray<uint16_t>(header, bytes, "top_ids");
  golden.top_logits_ = ReadArray<float>(header, bytes, "top_logits");
  golden.lse_ = ReadArray<double>(header, bytes, "lse");
  golden.tail_lse_ = ReadArray<double>(header, bytes, "tail_lse");
  return golden;
}

void LogitsGolden::Truncate(int num_tokens) {
  tokens_.resize(num_tokens);
  positions_.erase(std::lower_bound(positions_.begin(), positions_.end(), num_tokens),
                   positions_.end());
}

double LogitsGolden::Kl(int i, std::span<const float> row) const {
  const std::span top_ids(top_ids_.data() + static_cast<size_t>(i) * top_, top_);
  const double lse = LogSumExp(row);
  double kl = 0;
  for (int k = 0; k < top_; ++k) {
    const double log_p = top_logits_[static_cast<size_t>(i) * top_ + k] - lse_[i];
    kl += std::exp(log_p) * (log_p - (row[top_ids[k]] - lse));
  }
  if (top_ == vocab_size_) return kl;
  std::vector<uint16_t> skip(top_ids.begin(), top_ids.end());
  std::sort(skip.begin(), skip.end());
  const double tail_p = tail_lse_[i] - lse_[i];
  return kl + std::exp(tail_p) * (tail_p - (LogSumExp(row, skip) - lse));
}

LogitsDistance LogitsGolden::Compare(std::span<const float> logits, double clear_margin) const {
  LogitsDistance distance;
  for (size_t i = 0; i < positions_.size(); ++i) {
    const std::span<const float> row = logits.subspan(i * vocab_size_, vocab_size_);
    distance.mean_kl += Kl(static_cast<int>(i), row) / static_cast<double>(positions_.size());
    const float* const top = &top_logits_[i * top_];
    if (top[0] - top[1] <= clear_margin) continue;
    ++distance.num_clear;
    const auto largest = std::max_element(row.begin(), row.end()) - row.begin();
    if (largest == top_ids_[i * top_]) ++distance.num_agreed;
  }
  return distance;
}

}  // namespace skv::model
