// skv-bench-allocator-churn: how well a full arena is used, and what a call costs; prints one JSON
// object.

#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "bench/kvstore/allocator_churn.h"
#include "common/flags.h"
#include "kvstore/block/block_header.h"

namespace skv::bench {
namespace {

constexpr int64_t kMaxTokenBytes = int64_t{1} << 24;

nlohmann::json ToJson(const Share& share) { return {{"min", share.min}, {"mean", share.mean()}}; }

nlohmann::json ToJson(const ChurnOptions& options, const ChurnResult& result) {
  return {{"arena_bytes", options.arena_bytes},
          {"operations", options.num_operations},
          {"token_bytes", options.token_bytes},
          {"recorded_sentences", options.sentence_tokens.size()},
          {"eviction", options.eviction},
          {"widen_below", options.widen_below},
          {"leased_share", options.leased_share},
          {"allocated", result.num_allocated},
          {"refused", result.num_refused},
          {"evicted", result.num_evicted},
          {"evicted_as_victims", result.num_evicted_as_victims},
          {"mean_block_bytes", result.mean_block_bytes},
          {"mean_live_blocks", result.mean_live_blocks},
          {"live_of_committed", ToJson(result.live_of_committed)},
          {"live_of_arena", ToJson(result.live_of_arena)},
          {"live_of_arena_when_full", ToJson(result.live_of_arena_when_full)},
          {"ns_per_operation", result.ns_per_operation}};
}

// Empty when all is well.
std::string ReadTokenBytes(const std::vector<std::string>& texts, ChurnOptions* options) {
  options->token_bytes.clear();
  for (const std::string& text : texts) {
    int64_t bytes = 0;
    if (!absl::SimpleAtoi(text, &bytes) || bytes < 1 || bytes > kMaxTokenBytes) {
      return "--token-bytes: " + text + ", expected 1 to " + std::to_string(kMaxTokenBytes);
    }
    const uint64_t largest = kvstore::kMaxHeaderBytes + kvstore::kMaxBlockTokens * bytes;
    if (largest > options->arena_bytes) {
      return "--arena-mib: " + std::to_string(options->arena_bytes >> 20) +
             ", expected room for a block of " + std::to_string(largest) + " bytes";
    }
    options->token_bytes.push_back(bytes);
  }
  return "";
}

// Empty when all is well.
std::string ReadSentenceTokens(const std::string& path, ChurnOptions* options) {
  if (path.empty()) return "";
  std::ifstream file(path);
  options->sentence_tokens.assign(std::istream_iterator<int>(file), {});
  if (!file.eof() || options->sentence_tokens.empty()) {
    return "--sentences: " + path + ": expected numbers of tokens, one a line";
  }
  for (const int tokens : options->sentence_tokens) {
    if (tokens < 1 || tokens > kvstore::kMaxBlockTokens) {
      return "--sentences: " + path + ": a sentence of " + std::to_string(tokens) +
             " tokens, expected 1 to " + std::to_string(kvstore::kMaxBlockTokens);
    }
  }
  return "";
}

int Main(int argc, char** argv) {
  ChurnOptions options;
  int64_t arena_mib = 4096;
  int64_t seed = 1;
  std::vector<std::string> token_bytes = {"23040"};
  std::string sentences;
  Flags flags("skv-bench-allocator-churn",
              "Fills a block arena and keeps it full; prints how much of it is live, as JSON");
  flags.Add("arena-mib", &arena_mib, IntRange{1, 1 << 24}, "Size of the arena");
  flags.Add("operations", &options.num_operations, IntRange{1, int64_t{1} << 40},
            "Allocations, those that fail included, and evictions");
  flags.Add("token-bytes", &token_bytes, "Bytes of a token's keys and values, of each layout");
  flags.Add("sentences", &sentences,
            "File of sentences' tokens, as skv-bench-sentence-lengths prints them, to draw from; "
            "empty: 4 to 128, mean 20");
  flags.Add("one-layout-at-a-time", &options.one_layout_at_a_time,
            "Layouts follow each other; else every block draws one");
  flags.AddChoice("eviction", &options.eviction, {"random", "oldest", "second-chance"},
                  "Which blocks make room");
  flags.Add("widen-below", &options.widen_below, RealRange{0, 1},
            "Live share of the arena below which a victim's hole is widened; 0: never");
  flags.Add("leased-share", &options.leased_share, RealRange{0, 0.5},
            "Of all blocks: not to be evicted, drawn anew every 65536 operations");
  flags.Add("seed", &seed, IntRange{0, INT64_MAX}, "Of sizes and victims");
  flags.SetExamples(
      "  skv-bench-allocator-churn --operations 100000000\n"
      "  skv-bench-allocator-churn --token-bytes 11520,23040,131072 --eviction oldest");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  options.arena_bytes = static_cast<uint64_t>(arena_mib) << 20;
  options.seed = static_cast<uint64_t>(seed);
  if (const std::string problem = ReadTokenBytes(token_bytes, &options); !problem.empty()) {
    std::cerr << "skv-bench-allocator-churn: " << problem << "\n";
    return Flags::kUsageExitCode;
  }
  if (const std::string problem = ReadSentenceTokens(sentences, &options); !problem.empty()) {
    std::cerr << "skv-bench-allocator-churn: " << problem << "\n";
    return Flags::kUsageExitCode;
  }
  std::cout << ToJson(options, RunChurn(options)) << std::endl;
  return 0;
}

}  // namespace
}  // namespace skv::bench

int main(int argc, char** argv) { return skv::bench::Main(argc, argv); }
