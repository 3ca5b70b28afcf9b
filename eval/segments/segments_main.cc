// skv-segments: the segmenter's sentence ends against those marked by hand, and what a token costs.

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "common/flags.h"
#include "common/status.h"
#include "eval/segments/gold_text.h"
#include "text/sentence_segmenter.h"
#include "text/tokenizer.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/tokenizer_spec_loader.h"

namespace skv::segments {
namespace {

constexpr const char* kDescription =
    "Counts the sentence ends that the segmenter and a gold file agree on, and measures the time\n"
    "that feeding a token takes. Gold ends that make a sentence shorter than the segmenter's "
    "minimum\n"
    "are left out first, in order, as its rule says. Prints one JSON object; differences go to\n"
    "standard error.";

struct Counts {
  int common = 0, gold = 0, found = 0;
};

struct Tokens {
  std::vector<TokenId> ids;
  // Offset of each token's first byte that is not white space; its end if it has none.
  std::vector<size_t> visible_begin;
  std::vector<bool> is_blank;
};

absl::StatusOr<Tokens> Encode(const text::Tokenizer& tokenizer, const std::string& text) {
  Tokens tokens;
  SKV_ASSIGN_OR_RETURN(tokens.ids, tokenizer.Encode(text, {.parse_special = true}));
  size_t begin = 0;
  for (const TokenId id : tokens.ids) {
    const std::string_view bytes = tokenizer.TokenBytes(id);
    const size_t blank = std::min(bytes.find_first_not_of(" \n"), bytes.size());
    tokens.visible_begin.push_back(begin + blank);
    tokens.is_blank.push_back(blank == bytes.size());
    begin += bytes.size();
  }
  return tokens;
}

// The gold ends as token indices, without those that the least sentence size forbids. An end inside
// a token becomes the next token's index, where the segmenter cannot place it: a miss.
std::vector<int> GoldEnds(const GoldDocument& document, const Tokens& tokens) {
  std::vector<int> ends;
  int begin = 0;
  size_t idx = 0;
  for (const size_t end : document.ends) {
    while (idx < tokens.ids.size() && (tokens.is_blank[idx] || tokens.visible_begin[idx] < end)) {
      ++idx;
    }
    if (static_cast<int>(idx) - begin < text::kMinSentenceTokens) continue;
    ends.push_back(begin = static_cast<int>(idx));
  }
  return ends;
}

void PrintDifferences(const text::Tokenizer& tokenizer, const Tokens& tokens,
                      const std::vector<int>& ends, const char* what) {
  for (const int end : ends) {
    std::string around;
    for (int idx = std::max(0, end - 8); idx < end + 5; ++idx) {
      if (idx == end) around += "^";
      if (idx < static_cast<int>(tokens.ids.size()))
        around += tokenizer.TokenBytes(tokens.ids[idx]);
    }
    std::cerr << what << ": " << absl::Utf8SafeCEscape(around) << "\n";
  }
}

std::vector<int> Without(const std::vector<int>& a, const std::vector<int>& b) {
  std::vector<int> result;
  std::ranges::set_difference(a, b, std::back_inserter(result));
  return result;
}

double NanosecondsPerToken(const std::shared_ptr<const text::SentenceSegmenter>& segmenter,
                           const std::vector<TokenId>& ids, int num_tokens) {
  text::SentenceStream stream(segmenter);
  const auto start = std::chrono::steady_clock::now();
  for (int fed = 0; fed < num_tokens; ++fed) stream.Feed(ids[fed % ids.size()]);
  const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
  return time.count() / stream.num_fed();
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrFormat("%s: cannot be opened", path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string ToJson(const Counts& counts) {
  return absl::StrFormat(R"({"common": %d, "gold": %d, "found": %d})", counts.common, counts.gold,
                         counts.found);
}

struct Options {
  std::string model, gold;
  int speed_tokens = 2'000'000;
  int speed_rounds = 11;
};

absl::Status Run(const Options& options) {
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(options.model));
  SKV_ASSIGN_OR_RETURN(text::TokenizerSpec spec, loader::ReadTokenizerSpec(*file));
  SKV_ASSIGN_OR_RETURN(const auto segmenter, text::SentenceSegmenter::Create(spec));
  SKV_ASSIGN_OR_RETURN(const auto tokenizer, text::Tokenizer::Create(std::move(spec)));
  SKV_ASSIGN_OR_RETURN(const std::string gold, ReadFile(options.gold));
  SKV_ASSIGN_OR_RETURN(const std::vector<GoldDocument> documents, ParseGold(gold));

  std::map<std::string, Counts> by_kind;
  size_t num_sentences = 0;
  std::vector<TokenId> all_ids;
  for (const GoldDocument& document : documents) {
    SKV_ASSIGN_OR_RETURN(const Tokens tokens, Encode(*tokenizer, document.text));
    const std::vector<int> expected = GoldEnds(document, tokens);
    const std::vector<int> found = text::SentenceEnds(*segmenter, tokens.ids);
    const std::vector<int> missed = Without(expected, found);
    PrintDifferences(*tokenizer, tokens, missed, "missed");
    PrintDifferences(*tokenizer, tokens, Without(found, expected), "wrong");
    Counts& counts = by_kind[document.kind];
    counts.common += static_cast<int>(expected.size() - missed.size());
    counts.gold += static_cast<int>(expected.size());
    counts.found += static_cast<int>(found.size());
    num_sentences += document.ends.size() + 1;
    all_ids.insert(all_ids.end(), tokens.ids.begin(), tokens.ids.end());
  }

  std::cout << "{\"sentences\": " << num_sentences << ", \"tokens\": " << all_ids.size()
            << ", \"kinds\": {";
  const char* separator = "";
  for (const auto& [kind, counts] : by_kind) {
    std::cout << separator << '"' << kind << "\": " << ToJson(counts);
    separator = ", ";
  }
  std::cout << "}, \"nanoseconds_per_token\": [";
  for (int round = 0; round < options.speed_rounds; ++round) {
    const double time = NanosecondsPerToken(segmenter, all_ids, options.speed_tokens);
    std::cout << (round > 0 ? ", " : "") << absl::StrFormat("%.2f", time);
  }
  std::cout << "]}\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace skv::segments

int main(int argc, char** argv) {
  skv::segments::Options options;
  skv::Flags flags("skv-segments", skv::segments::kDescription);
  flags.Add("model", &options.model, "GGUF file whose tokenizer is used");
  flags.Require("model");
  flags.Add("gold", &options.gold, "File of sentences marked by hand");
  flags.Require("gold");
  flags.Add("speed-tokens", &options.speed_tokens, {1, 1 << 30},
            "Tokens fed in a round of the speed measurement");
  flags.Add("speed-rounds", &options.speed_rounds, {0, 1000}, "Rounds of the speed measurement");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  const absl::Status status = skv::segments::Run(options);
  if (status.ok()) return 0;
  std::cerr << "skv-segments: " << status << "\n";
  return 1;
}
