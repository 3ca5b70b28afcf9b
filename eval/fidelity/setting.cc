#include "eval/fidelity/setting.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status.h"
#include "eval/fidelity/sentencekv_variant.h"
#include "worker/policy/sentencekv_policy.h"

namespace skv::eval {
namespace {

constexpr const char* kReferences[] = {"oracle_topk", "oracle_sentence",
                                       "oracle_sentence_per_token", "random"};

bool HasOptions(const Setting& setting) { return setting.params.name == "sentencekv"; }

absl::Status SetParameter(std::string_view assignment, Setting* setting) {
  policy::PolicyParams* const params = &setting->params;
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(Sv(assignment), absl::MaxSplits('=', 1));
  const auto& [key, value] = parts;
  if (key == "budget" && policy::HasBudget(params->name) &&
      absl::SimpleAtoi(value, &params->budget_tokens)) {
    return absl::OkStatus();
  }
  if (key == "factor" && policy::HasSemanticFactor(params->name) &&
      absl::SimpleAtod(value, &params->semantic_factor)) {
    return absl::OkStatus();
  }
  if (HasOptions(*setting) && key != "budget" && key != "factor") {
    return Annotate(SetOption(key, value, &setting->sentencekv), "--policies");
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--policies: \"", Sv(assignment), "\", expected budget=TOKENS or factor=NUMBER where policy ",
      params->name, " has such a parameter"));
}

absl::StatusOr<Setting> ParsePolicy(std::string_view text) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(Sv(text), absl::MaxSplits(':', 1));
  Setting setting{.params = {.name = parts.first}};
  SKV_RETURN_IF_ERROR(Annotate(policy::Validate(setting.params), "--policies"));
  for (const auto assignment : absl::StrSplit(parts.second, ',', absl::SkipEmpty())) {
    SKV_RETURN_IF_ERROR(SetParameter(StdSv(assignment), &setting));
  }
  SKV_RETURN_IF_ERROR(Annotate(policy::Validate(setting.params), "--policies"));
  return setting;
}

}  // namespace

std::string Setting::name() const {
  return absl::StrCat(policy::Fingerprint(params), OptionsSuffix(sentencekv),
                      shadow_only ? "/shadow" : "");
}

absl::StatusOr<std::vector<Setting>> ParsePolicies(std::string_view text) {
  std::vector<Setting> settings;
  for (const auto part : absl::StrSplit(Sv(text), ';', absl::SkipEmpty())) {
    SKV_ASSIGN_OR_RETURN(Setting setting, ParsePolicy(StdSv(part)));
    settings.push_back(std::move(setting));
  }
  if (settings.empty()) {
    return absl::InvalidArgumentError(
        "--policies: none given, expected NAME:budget=TOKENS,factor=NUMBER;NAME...");
  }
  return settings;
}

std::vector<Setting> WithReferences(const std::vector<Setting>& policies) {
  std::vector<Setting> settings = policies;
  std::vector<int> budgets;
  for (const Setting& setting : policies) {
    const int budget = setting.params.budget_tokens;
    if (!policy::HasBudget(setting.params.name) || std::ranges::count(budgets, budget) > 0)
      continue;
    budgets.push_back(budget);
    for (const char* name : kReferences) {
      settings.push_back({.params = {.name = name, .budget_tokens = budget}, .shadow_only = true});
    }
  }
  return settings;
}

absl::StatusOr<std::unique_ptr<policy::KvPolicy>> CreatePolicy(
    const Setting& setting, const policy::SequenceShape& shape,
    const std::vector<policy::Sentence>* sentences) {
  if (!HasOptions(setting)) return policy::CreatePolicy(setting.params, shape, sentences);
  SKV_RETURN_IF_ERROR(policy::Validate(setting.params));
  return policy::CreateSentenceKvPolicy(setting.params, shape, sentences, setting.sentencekv);
}

}  // namespace skv::eval
