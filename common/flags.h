#pragma once
// Command-line flags over CLI11, alike in all binaries. Each can also come from the environment and
// from a configuration file (INI or TOML). The command line wins over the environment, that over
// the file, that over the default; an empty variable counts as not given.
//   --max-num-seqs 8        on the command line
//   SKV_MAX_NUM_SEQS=8      in the environment
//   max-num-seqs = 8        in the file of --config or SKV_CONFIG
// Keys before any [section] of the file go to whichever command runs, those in [cluster.up] to it,
// and those in [skv-worker] to that program: one file may serve several.
//
//   int port = 8080;
//   Flags flags("skv-router", "Routes requests to worker groups.");
//   flags.Add("port", &port, IntRange{0, 65535}, "Port to listen on; 0 for any");
//   flags.SetExamples("  skv-router --worker-urls 127.0.0.1:7000");
//   if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace CLI {
class App;
}  // namespace CLI

namespace skv {

struct IntRange {
  int64_t min, max;  // both allowed
};
struct RealRange {
  double min, max;  // both allowed; infinities and NaN never are
};

// One command: a program, or a subcommand of it. Not thread-safe. Variables keep their value, which
// is the default that --help shows, unless the flag is given; they outlive this object's Parse.
class Flags {
 public:
  static constexpr int kUsageExitCode = 2;

  Flags(std::string_view program, std::string_view description);
  ~Flags();
  Flags(const Flags&) = delete;
  Flags& operator=(const Flags&) = delete;

  // `name` is spelled without dashes in front: "max-num-seqs".
  void Add(std::string_view name, std::string* value, std::string_view help);
  void Add(std::string_view name, bool* value, std::string_view help);  // --x, --x=false
  void Add(std::string_view name, int* value, IntRange range, std::string_view help);
  void Add(std::string_view name, int64_t* value, IntRange range, std::string_view help);
  void Add(std::string_view name, double* value, RealRange range, std::string_view help);
  void Add(std::string_view name, std::optional<uint64_t>* value, std::string_view help);
  void Add(std::string_view name, std::optional<int64_t>* value, IntRange range,
           std::string_view help);
  void Add(std::string_view name, std::optional<double>* value, RealRange range,
           std::string_view help);
  // A list: given several times, or once with commas.
  void Add(std::string_view name, std::vector<std::string>* value, std::string_view help);
  void AddChoice(std::string_view name, std::string* value, std::vector<std::string> choices,
                 std::string_view help);
  // An argument without a name, in the order of the calls; not from environment or file.
  void AddPositional(std::string_view name, std::string* value, std::string_view help);

  // The flag `name`, added before, must be given, in whichever way.
  void Require(std::string_view name);
  // Shown at the end of --help under "Examples:".
  void SetExamples(std::string_view text);
  // Shown below the examples, which are set before, under "Exit codes:".
  void SetExitCodes(std::string_view text);

  // A subcommand; this object owns it. A command that has subcommands needs one of them.
  Flags& AddCommand(std::string_view name, std::string_view description);
  // True on the commands that the command line named, after Parse.
  bool chosen() const;

  // Sets the variables and returns nothing, or prints (help and version to standard output, errors
  // to standard error) and returns the exit code to end with: 0, or kUsageExitCode.
  std::optional<int> Parse(int argc, const char* const* argv);
  // The same with `args` after the program's name and the streams of a test.
  std::optional<int> Parse(const std::vector<std::string>& args, std::ostream& out,
                           std::ostream& err);

 private:
  struct Flag;
  class ConfigFile;

  Flags(CLI::App* app, std::string path);

  // `set` takes the one value given; the status says what was expected.
  Flag& AddFlag(std::string_view name, std::string_view type, std::string_view help,
                std::function<absl::Status(const std::string& value)> set);
  std::vector<Flags*> ChosenCommands();
  bool Knows(std::string_view section, std::string_view name) const;
  absl::Status SetAll();
  absl::Status CheckEndsTheCommand() const;
  absl::Status Apply(const ConfigFile& file);

  std::unique_ptr<CLI::App> owned_app_;  // null in subcommands: CLI11 owns theirs
  CLI::App* const app_;
  const std::string path_;   // "" or "cluster.up"
  std::string config_path_;  // of the program only
  std::vector<std::unique_ptr<Flag>> flags_;
  std::vector<std::unique_ptr<Flags>> commands_;
};

}  // namespace skv
