// skv-kept-sets: what KV policies attend on keys and queries from a file.

#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/status.h"
#include "eval/rivals/kept_case.h"
#include "gtest/gtest.h"
#include "worker/policy/testing/policy_driver.h"

namespace skv::eval {
namespace {

constexpr const char* kDescription =
    "Runs KV policies over cases of rotated keys and queries (eval/rivals/kept_case.h), the "
    "prompt\n"
    "in steps of random sizes. Prints one line of JSON a case:\n"
    "{\"attended\": [layer * kv_heads + kv_head][generated position][range] = [begin, end]}.";

policy::Selections Attended(const KeptCase& one) {
  std::mt19937 random(one.seed);
  policy::PolicyDriver driver(one.sequence, one.params);
  driver.RunTo(one.sequence.shape.num_prompt_tokens, one.max_step, random);
  if (!one.fork) {
    driver.RunTo(one.sequence.num_tokens, one.max_step, random);
    return driver.selections();
  }
  policy::PolicyDriver fork(one.sequence, driver);
  fork.RunTo(one.sequence.num_tokens, one.max_step, random);
  return fork.selections();
}

nlohmann::json ToJson(const policy::Selections& selections) {
  nlohmann::json heads = nlohmann::json::array();
  for (const policy::HeadSelections& rows : selections) {
    nlohmann::json& head = heads.emplace_back(nlohmann::json::array());
    for (const auto& ranges : rows) {
      nlohmann::json& row = head.emplace_back(nlohmann::json::array());
      for (const policy::PositionRange& range : ranges) row.push_back({range.begin, range.end});
    }
  }
  return {{"attended", heads}};
}

absl::Status Run(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be opened"));
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::string_view rest = bytes;
  for (int i = 0; !rest.empty(); ++i) {
    const absl::StatusOr<KeptCase> one = TakeCase(&rest);
    SKV_RETURN_IF_ERROR(Annotate(one.status(), absl::StrCat(path, ": case ", i)));
    const policy::Selections selections = Attended(*one);
    policy::CheckWellFormed(one->sequence, selections);
    std::cout << ToJson(selections).dump() << "\n";
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace skv::eval

int main(int argc, char** argv) {
  std::string cases;
  skv::Flags flags("skv-kept-sets", skv::eval::kDescription);
  flags.Add("cases", &cases, "File of cases");
  flags.Require("cases");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  // A policy that breaks its contract fails an assertion of the driver, which ends the program.
  GTEST_FLAG_SET(throw_on_failure, true);
  const absl::Status status = skv::eval::Run(cases);
  if (!status.ok()) {
    std::cerr << "skv-kept-sets: " << status.ToString() << std::endl;
    return 1;
  }
  return 0;
}
