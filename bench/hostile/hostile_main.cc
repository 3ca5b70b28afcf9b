// skv-hostile: attacks a skv-kvstore of its own, one attack after the other, and tells how it took
// them; then lets clients die in a store of many keys. Prints one JSON object.

#include <iostream>

#include "bench/hostile/run.h"
#include "common/flags.h"

namespace skv::hostile {
namespace {

int Main(int argc, char** argv) {
  RunOptions options;
  Flags flags("skv-hostile",
              "Attacks a skv-kvstore that it starts, and checks after each attack that another "
              "client is served and that nothing was kept");
  flags.Add("store", &options.store, "The program skv-kvstore, of any build");
  flags.Require("store");
  flags.Add("only", &options.only, "Only attacks with this in their name");
  flags.Add("max-latency-ms", &options.max_latency_ms, RealRange{0, 1e6},
            "A request of the healthy client that takes longer is a failure");
  flags.Add("keys", &options.dying.num_keys, IntRange{0, 16'000'000},
            "In the store in which clients die; 0: none dies");
  flags.Add("deaths", &options.dying.rounds, IntRange{1, 1000}, "Clients that die there");
  flags.SetExamples(
      "  skv-hostile --store build/release/bin/skv-kvstore\n"
      "  skv-hostile --store build/tsan/bin/skv-kvstore --keys 0 --max-latency-ms 5000");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  const absl::Status status = RunHostile(options);
  if (status.ok()) return 0;
  std::cerr << "skv-hostile: " << status << std::endl;
  return 1;
}

}  // namespace
}  // namespace skv::hostile

int main(int argc, char** argv) { return skv::hostile::Main(argc, argv); }
