#include "eval/fidelity/sentencekv_variant.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::eval {
namespace {

using policy::SentenceKvOptions;

// In the order of the enumerators, and of false and true.
constexpr std::array<std::string_view, 2> kDigests = {"mean", "cuboid_mean"};
constexpr std::array<std::string_view, 3> kBoundaries = {"carry", "local", "full"};
constexpr std::array<std::string_view, 3> kReductions = {"max", "mean", "score"};
constexpr std::array<std::string_view, 2> kRanks = {"keys", "sketches"};
constexpr std::array<std::string_view, 2> kQueries = {"mean", "blend"};

template <typename T, size_t size>
bool SetChoice(const std::array<std::string_view, size>& names, std::string_view name, T* choice) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return false;
  *choice = static_cast<T>(found - names.begin());
  return true;
}

bool SetNumber(std::string_view text, int min, int max, int* number) {
  int value;
  if (!absl::SimpleAtoi(Sv(text), &value) || value < min || value > max) return false;
  *number = value;
  return true;
}

bool SetReal(std::string_view text, float min, float max, float* number) {
  float value;
  if (!absl::SimpleAtof(Sv(text), &value) || !(value >= min && value <= max)) return false;
  *number = value;
  return true;
}

bool Set(std::string_view key, std::string_view value, SentenceKvOptions* options) {
  if (key == "digest") return SetChoice(kDigests, value, &options->digest);
  if (key == "boundary") return SetChoice(kBoundaries, value, &options->boundary);
  if (key == "reduction") return SetChoice(kReductions, value, &options->reduction);
  if (key == "found") return SetReal(value, 1, 64, &options->found_per_chosen);
  if (key == "expected") return SetReal(value, 0, 1, &options->least_expected);
  if (key == "least") return SetReal(value, 0, 1, &options->least_of_mean);
  if (key == "rank") return SetChoice(kRanks, value, &options->sketches);
  if (key == "prompt_queries") return SetNumber(value, 0, 4096, &options->prompt_queries);
  return key == "query" && SetChoice(kQueries, value, &options->blend_newest);
}

}  // namespace

absl::Status SetOption(std::string_view key, std::string_view value, SentenceKvOptions* options) {
  if (Set(key, value, options)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      Sv(key), "=", Sv(value),
      ": expected digest=cuboid_mean|mean, boundary=carry|local|full, reduction=max|mean|score, "
      "found=1..64, expected=0..1, least=0..1, rank=sketches|keys, prompt_queries=0..4096 or "
      "query=blend|mean"));
}

std::string OptionsSuffix(const SentenceKvOptions& options) {
  const SentenceKvOptions usual;
  std::string suffix;
  const auto add = [&](bool differs, const char* key, const auto& value) {
    if (differs) absl::StrAppend(&suffix, "/", key, "=", value);
  };
  add(options.digest != usual.digest, "digest", Sv(kDigests[static_cast<int>(options.digest)]));
  add(options.boundary != usual.boundary, "boundary",
      Sv(kBoundaries[static_cast<int>(options.boundary)]));
  add(options.reduction != usual.reduction, "reduction",
      Sv(kReductions[static_cast<int>(options.reduction)]));
  add(options.found_per_chosen != usual.found_per_chosen, "found", options.found_per_chosen);
  add(options.least_expected != usual.least_expected, "expected", options.least_expected);
  add(options.least_of_mean != usual.least_of_mean, "least", options.least_of_mean);
  add(options.sketches != usual.sketches, "rank", Sv(kRanks[options.sketches]));
  add(options.prompt_queries != usual.prompt_queries, "prompt_queries", options.prompt_queries);
  add(options.blend_newest != usual.blend_newest, "query", Sv(kQueries[options.blend_newest]));
  return suffix;
}

}  // namespace skv::eval
