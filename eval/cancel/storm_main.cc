// skv-cancel-storm: cancels half of 64 streams, again and again, and counts what is left behind.
// Prints one JSON object.

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/status.h"
#include "eval/cancel/storm.h"

namespace skv::eval {
namespace {

struct StormFlags {
  StormOptions storm;
  std::vector<std::string> admin_ports;
};

absl::Status Run(StormFlags flags) {
  for (const std::string& port : flags.admin_ports) {
    ProcessEndpoint process{.name = absl::StrCat("port ", port)};
    if (!absl::SimpleAtoi(port, &process.admin_port)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--admin-ports: got \"", port, "\", expected a port number"));
    }
    flags.storm.processes.push_back(std::move(process));
  }
  SKV_ASSIGN_OR_RETURN(const StormReport storm, RunStorm(flags.storm));
  std::cout << nlohmann::ordered_json{{"rounds", storm.num_rounds},
                                      {"survivors", storm.num_survivors},
                                      {"cancelled", storm.num_cancelled},
                                      {"cancelled_waiting", storm.num_waiting},
                                      {"cancelled_in_prefill",
                                       storm.num_in_prefill + storm.num_at_prompt_end},
                                      {"cancelled_before_prompt_end", storm.num_in_prefill},
                                      {"cancelled_in_decode", storm.num_in_decode},
                                      {"leaked_blocks", storm.leaked_blocks},
                                      {"leaked_streams", storm.leaked_streams},
                                      {"leaked_outstanding_tokens",
                                       storm.leaked_outstanding_tokens},
                                      {"wrong_survivors", storm.wrong_survivors},
                                      {"descriptor_growth", storm.descriptor_growth},
                                      {"memory_growth_mb", storm.memory_growth_bytes / 1e6},
                                      {"slowest_idle_s", storm.slowest_idle_seconds},
                                      {"max_steps_after_cancel", storm.max_steps_after_cancel},
                                      {"problems", storm.problems}}
                   .dump()
            << std::endl;
  return absl::OkStatus();
}

}  // namespace
}  // namespace skv::eval

int main(int argc, char** argv) {
  skv::eval::StormFlags flags;
  skv::Flags parser("skv-cancel-storm",
                    "Cancels half of many streams, round after round, and counts what is left");
  parser.Add("endpoint", &flags.storm.endpoint, "Router to ask, host:port");
  parser.Require("endpoint");
  parser.Add("admin-ports", &flags.admin_ports, "Metrics ports of all processes of the cluster");
  parser.Require("admin-ports");
  parser.Add("rounds", &flags.storm.num_rounds, skv::IntRange{1, 100000}, "Rounds");
  parser.Add("streams", &flags.storm.num_streams, skv::IntRange{8, 1024}, "Streams of a round");
  parser.Add("baseline-round", &flags.storm.baseline_round, skv::IntRange{1, 100000},
             "Round after which memory and descriptors must not grow");
  parser.SetExamples("  skv-cancel-storm --endpoint 127.0.0.1:8070 --admin-ports 8071,8200,8201");
  if (const std::optional<int> exit_code = parser.Parse(argc, argv)) return *exit_code;
  const absl::Status status = skv::eval::Run(std::move(flags));
  if (status.ok()) return 0;
  std::cerr << "skv-cancel-storm: " << status.ToString() << std::endl;
  return 1;
}
