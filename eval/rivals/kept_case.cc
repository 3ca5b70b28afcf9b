#include "eval/rivals/kept_case.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::eval {
namespace {

static_assert(std::endian::native == std::endian::little, "cases are little-endian");

absl::Status Wrong(std::string_view name, const nlohmann::json& got, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(
      Sv(name), ": ", got.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
      ", expected ", Sv(expected)));
}

// The integer `name` of the header, min to max.
absl::StatusOr<int> Integer(const nlohmann::json& header, const char* name, int min, int max) {
  const nlohmann::json value = header.value(name, nlohmann::json());
  const bool fits = value.is_number_integer() && value >= min && value <= max;
  if (!fits) return Wrong(name, value, absl::StrCat("an integer of ", min, " to ", max));
  return value.get<int>();
}

absl::StatusOr<policy::PolicyParams> ReadParams(const nlohmann::json& header) {
  policy::PolicyParams params;
  const nlohmann::json name = header.value("policy", nlohmann::json());
  if (!name.is_string()) return Wrong("policy", name, "a string");
  params.name = name.get<std::string>();
  SKV_ASSIGN_OR_RETURN(params.budget_tokens, Integer(header, "budget", policy::kMinBudgetTokens,
                                                     policy::kMaxBudgetTokens));
  const nlohmann::json factor = header.value("semantic_factor", nlohmann::json());
  if (!factor.is_number()) return Wrong("semantic_factor", factor, "a number");
  params.semantic_factor = factor.get<double>();
  SKV_RETURN_IF_ERROR(policy::Validate(params));
  return params;
}

absl::StatusOr<std::vector<policy::Sentence>> ReadSentences(const nlohmann::json& header) {
  const nlohmann::json list = header.value("sentences", nlohmann::json());
  if (!list.is_array()) return Wrong("sentences", list, "a list");
  std::vector<policy::Sentence> sentences;
  int end = 0, known_at = 0;
  for (const nlohmann::json& item : list) {
    const auto is_position = [](const nlohmann::json& number) {
      return number.is_number_integer() && number >= 0 && number < (1 << 24);
    };
    if (!item.is_array() || item.size() != 3 || !std::ranges::all_of(item, is_position) ||
        item[0] != end || item[1] <= end || item[2] < item[1].get<int>() - 1 ||
        item[2] < known_at) {
      return Wrong(absl::StrCat("sentences[", sentences.size(), "]"), item,
                   absl::StrCat("[", end, ", end, known_at] with known_at at end - 1 or later"));
    }
    end = item[1].get<int>();
    known_at = item[2].get<int>();
    sentences.push_back({item[0].get<int>(), end, known_at});
  }
  return sentences;
}

absl::StatusOr<policy::SequenceShape> ReadShape(const nlohmann::json& header) {
  policy::SequenceShape shape;
  SKV_ASSIGN_OR_RETURN(shape.num_layers, Integer(header, "layers", 1, 128));
  SKV_ASSIGN_OR_RETURN(shape.num_kv_heads, Integer(header, "kv_heads", 1, 64));
  SKV_ASSIGN_OR_RETURN(shape.group_size, Integer(header, "group", 1, 64));
  SKV_ASSIGN_OR_RETURN(shape.head_dim, Integer(header, "head_dim", 2, 256));
  SKV_ASSIGN_OR_RETURN(shape.num_prompt_tokens, Integer(header, "prompt", 1, 1 << 20));
  return shape;
}

// Takes `count` floats off the front of `bytes`.
absl::StatusOr<std::vector<float>> TakeFloats(std::string_view name, int64_t count,
                                              std::string_view* bytes) {
  const uint64_t size = static_cast<uint64_t>(count) * sizeof(float);
  if (bytes->size() < size) {
    return Wrong(name, bytes->size(), absl::StrCat(size, " bytes of float32 behind the header"));
  }
  std::vector<float> floats(count);
  std::memcpy(floats.data(), bytes->data(), size);
  bytes->remove_prefix(size);
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(floats[i])) {
      return Wrong(absl::StrCat(Sv(name), "[", i, "]"), absl::StrCat(floats[i]), "a finite number");
    }
  }
  return floats;
}

absl::Status CheckBf16(const std::vector<float>& keys) {
  for (size_t i = 0; i < keys.size(); ++i) {
    if ((std::bit_cast<uint32_t>(keys[i]) & 0xffff) != 0) {
      return Wrong(absl::StrCat("keys[", i, "]"), keys[i], "a value of bf16");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<KeptCase> TakeCase(std::string_view* bytes) {
  const std::string_view line = bytes->substr(0, bytes->find('\n'));
  const nlohmann::json header = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object() || line.size() == bytes->size()) {
    return Wrong("header", std::string(line.substr(0, 80)), "a line that is a JSON object");
  }
  bytes->remove_prefix(line.size() + 1);
  KeptCase result;
  SKV_ASSIGN_OR_RETURN(result.params, ReadParams(header));
  policy::TestSequence& sequence = result.sequence;
  SKV_ASSIGN_OR_RETURN(sequence.shape, ReadShape(header));
  SKV_ASSIGN_OR_RETURN(sequence.num_tokens,
                       Integer(header, "tokens", sequence.shape.num_prompt_tokens, 1 << 20));
  SKV_ASSIGN_OR_RETURN(result.max_step, Integer(header, "max_step", 1, 1 << 20));
  SKV_ASSIGN_OR_RETURN(result.seed, Integer(header, "seed", 0, INT32_MAX));
  const nlohmann::json fork = header.value("fork", nlohmann::json());
  if (!fork.is_boolean()) return Wrong("fork", fork, "true or false");
  result.fork = fork.get<bool>();
  SKV_ASSIGN_OR_RETURN(sequence.sentences, ReadSentences(header));
  const int64_t num_keys = sequence.HeadRow(sequence.shape.num_layers, 0) * sequence.shape.head_dim;
  SKV_ASSIGN_OR_RETURN(sequence.keys, TakeFloats("keys", num_keys, bytes));
  SKV_RETURN_IF_ERROR(CheckBf16(sequence.keys));
  SKV_ASSIGN_OR_RETURN(sequence.queries,
                       TakeFloats("queries", num_keys * sequence.shape.group_size, bytes));
  return result;
}

}  // namespace skv::eval
