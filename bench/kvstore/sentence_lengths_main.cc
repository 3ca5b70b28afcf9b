// skv-bench-sentence-lengths: how many tokens the sentences of texts have, one number a line.

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/status.h"
#include "text/sentence_segmenter.h"
#include "text/tokenizer.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/tokenizer_spec_loader.h"

namespace skv::bench {
namespace {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be opened"));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The sentence that a text breaks off in has no block and is left out.
absl::Status Run(const std::string& model, const std::vector<std::string>& texts) {
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(model));
  SKV_ASSIGN_OR_RETURN(text::TokenizerSpec spec, loader::ReadTokenizerSpec(*file));
  SKV_ASSIGN_OR_RETURN(const auto segmenter, text::SentenceSegmenter::Create(spec));
  SKV_ASSIGN_OR_RETURN(const auto tokenizer, text::Tokenizer::Create(std::move(spec)));
  for (const std::string& path : texts) {
    SKV_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    SKV_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, tokenizer->Encode(text, {}));
    int begin = 0;
    for (const int end : text::SentenceEnds(*segmenter, ids)) {
      std::cout << end - std::exchange(begin, end) << "\n";
    }
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  std::string model;
  std::vector<std::string> texts;
  Flags flags("skv-bench-sentence-lengths",
              "Cuts texts into sentences as a worker does; prints the tokens of each");
  flags.Add("model", &model, "GGUF file whose tokenizer is used");
  flags.Require("model");
  flags.Add("texts", &texts, "Files of text");
  flags.Require("texts");
  flags.SetExamples(
      "  skv-bench-sentence-lengths --model m.gguf --texts a.txt,b.txt >lengths\n"
      "  skv-bench-allocator-churn --sentences lengths");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  const absl::Status status = Run(model, texts);
  if (status.ok()) return 0;
  std::cerr << "skv-bench-sentence-lengths: " << status.ToString() << "\n";
  return 1;
}

}  // namespace
}  // namespace skv::bench

int main(int argc, char** argv) { return skv::bench::Main(argc, argv); }
