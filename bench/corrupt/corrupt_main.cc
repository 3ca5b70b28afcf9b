// skv-bench-corrupt: writes blocks to a skv-kvstore, damages them where they lie, and reads them.
// One JSON request a line on standard input, one reply a line on standard output.

#include <iostream>
#include <optional>

#include "bench/corrupt/commands.h"
#include "common/flags.h"

namespace skv::corrupt {
namespace {

int Main(int argc, char** argv) {
  int64_t seed = 1;
  Flags flags("skv-bench-corrupt",
              "Writes blocks to a store, flips bits of them, and reads them as a worker does and "
              "without any check; what to do it is told line by line (bench/corrupt/commands.h)");
  flags.Add("seed", &seed, {0, int64_t{1} << 62}, "Of the blocks and of the bits");
  flags.SetExamples(
      "  echo '{\"cmd\": \"write\", \"socket\": \"s\", \"first\": 0, \"count\": 9}' | "
      "skv-bench-corrupt");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  ServeCommands(static_cast<uint64_t>(seed), std::cin, std::cout);
  return 0;
}

}  // namespace
}  // namespace skv::corrupt

int main(int argc, char** argv) { return skv::corrupt::Main(argc, argv); }
