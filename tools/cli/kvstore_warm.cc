// `skv kvstore warm`: has a document read once, so that those who ask about it find it in the
// cache.

#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "absl/strings/str_format.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/status.h"
#include "tools/cli/generate_flags.h"
#include "tools/cli/kvstore_commands.h"
#include "tools/cli/progress_line.h"
#include "tools/cli/text_source.h"

namespace skv::cli {
namespace {

struct Options {
  RemoteOptions remote;
  GenerateOptions generate;
  std::string document;
  bool raw = false;
  bool json = false;
};

// Says every second how long it has been. Where there is no terminal it does nothing.
class Stopwatch {
 public:
  Stopwatch() {
    if (line_.is_shown()) thread_ = std::thread([this] { Run(); });
  }
  ~Stopwatch() {
    {
      const MutexLock lock(&mutex_);
      is_over_ = true;
      changed_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  double seconds() const { return ToSeconds(RealClock().Now() - begin_); }

 private:
  void Run() {
    const MutexLock lock(&mutex_);
    while (!is_over_) {
      line_.Show(absl::StrFormat("reading the document, %.0f s", seconds()));
      changed_.WaitUntil(&mutex_, RealClock().Now() + std::chrono::seconds(1),
                         [this]() SKV_REQUIRES(mutex_) { return is_over_; });
    }
  }

  const TimePoint begin_ = RealClock().Now();
  const ProgressLine line_;
  Mutex mutex_;
  CondVar changed_;
  bool is_over_ SKV_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

absl::Status Warm(const Options& options) {
  GenerateOptions generate = options.generate;
  SKV_ASSIGN_OR_RETURN(const std::string document, ReadDocument("DOCUMENT", options.document));
  if (document.empty()) return absl::InvalidArgumentError("DOCUMENT: empty; give one with a text");
  generate.prompt = PutBefore(document, "");
  generate.chat = !options.raw;
  generate.max_tokens = 1;
  generate.kv_policy.name = "full";  // it reads and writes the cache; others need not
  SKV_ASSIGN_OR_RETURN(const auto source, OpenRemoteSource(options.remote));
  GenerateSummary summary;
  double seconds = 0;
  {
    const Stopwatch stopwatch;
    SKV_ASSIGN_OR_RETURN(summary, source->Generate(generate, [](std::string_view) {}));
    seconds = stopwatch.seconds();
  }
  if (options.json) {
    const nlohmann::ordered_json json = {{"prompt_tokens", summary.prompt_tokens},
                                         {"cached_tokens", summary.cached_tokens},
                                         {"seconds", seconds}};
    std::cout << json.dump() << std::endl;
  } else {
    std::cout << absl::StrFormat("%d tokens, %d were cached before, %.1f s\n",
                                 summary.prompt_tokens, summary.cached_tokens, seconds)
              << std::flush;
  }
  return absl::OkStatus();
}

}  // namespace

Command AddWarmCommand(Flags* group) {
  auto options = std::make_shared<Options>();
  Flags& flags = group->AddCommand(
      "warm", "Have a router's cluster read a document, so that its store has the sentences");
  flags.AddPositional(
      "document", &options->document,
      "File with its text; - for stdin. Serves the requests of `skv generate --file "
      "DOCUMENT`, and all chats whose first message, a user's, begins with the "
      "document and an empty line");
  flags.Require("document");
  flags.Add("endpoint", &options->remote.endpoint, "Router to ask, host:port: not the store");
  flags.Require("endpoint");
  flags.Add("timeout-secs", &options->remote.timeout_secs, IntRange{1, 86400},
            "Give up after so long");
  flags.Add("system", &options->generate.system,
            "System message of the requests that will come; empty: they have none");
  flags.Add("raw", &options->raw,
            "The requests will come without the chat template: their prompts begin with the "
            "document (/v1/completions, `skv generate --raw`)");
  flags.Add("cache-salt", &options->generate.cache_salt,
            "Salt of the requests that will come, 1 to 128 bytes; empty: they have none");
  flags.Add("json", &options->json, "Print one JSON object");
  flags.SetExamples(
      "  skv kvstore warm --endpoint localhost:8070 report.txt\n"
      "  skv kvstore warm --endpoint localhost:8070 --cache-salt team-7 - < report.txt\n"
      "  skv generate --endpoint localhost:8070 --file report.txt \"Who wrote this?\"");
  return {&flags, [options] { return Warm(*options); }};
}

}  // namespace skv::cli
