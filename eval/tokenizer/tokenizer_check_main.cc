// skv-tokenizer-check: our tokenizer in bulk, for comparison with others.

#include <cstdint>
#include <cstring>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "common/flags.h"
#include "common/status.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/tokenizer_spec_loader.h"

namespace skv {
namespace {

constexpr const char* kDescription =
    "Encodes or decodes every item of standard input with the tokenizer of a GGUF file.\n"
    "Input and output are items of a little-endian uint32 size in bytes and the bytes: a text, or\n"
    "the ids of one as little-endian int32. Decoding gives the incremental detokenizer's outputs,\n"
    "joined, with control tokens as their text.";

absl::StatusOr<std::unique_ptr<text::Tokenizer>> Load(const std::string& path) {
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(path));
  SKV_ASSIGN_OR_RETURN(text::TokenizerSpec spec, loader::ReadTokenizerSpec(*file));
  return text::Tokenizer::Create(std::move(spec));
}

absl::StatusOr<std::string> EncodeItem(const text::Tokenizer& tokenizer, std::string_view item,
                                       bool parse_special) {
  SKV_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                       tokenizer.Encode(item, {.parse_special = parse_special}));
  return std::string(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(TokenId));
}

std::string DecodeItem(const text::Tokenizer& tokenizer, std::string_view item) {
  text::IncrementalDetokenizer detokenizer(&tokenizer, {.include_control = true});
  std::string text;
  for (size_t pos = 0; pos + sizeof(TokenId) <= item.size(); pos += sizeof(TokenId)) {
    TokenId id;
    std::memcpy(&id, item.data() + pos, sizeof(id));
    text += detokenizer.Push(id);
  }
  return text + detokenizer.Flush();
}

absl::Status Run(const std::string& model, const std::string& mode) {
  SKV_ASSIGN_OR_RETURN(const auto tokenizer, Load(model));
  const std::string input(std::istreambuf_iterator<char>(std::cin), {});
  for (size_t pos = 0; pos < input.size();) {
    uint32_t size = 0;
    if (input.size() - pos < sizeof(size)) return absl::InvalidArgumentError("input: cut size");
    std::memcpy(&size, input.data() + pos, sizeof(size));
    pos += sizeof(size);
    if (input.size() - pos < size) return absl::InvalidArgumentError("input: cut item");
    const std::string_view item = std::string_view(input).substr(pos, size);
    pos += size;
    std::string output;
    if (mode == "decode") {
      output = DecodeItem(*tokenizer, item);
    } else {
      SKV_ASSIGN_OR_RETURN(output, EncodeItem(*tokenizer, item, mode == "encode-special"));
    }
    const auto output_size = static_cast<uint32_t>(output.size());
    std::cout.write(reinterpret_cast<const char*>(&output_size), sizeof(output_size));
    std::cout.write(output.data(), static_cast<std::streamsize>(output.size()));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace skv

int main(int argc, char** argv) {
  std::string model, mode = "encode";
  skv::Flags flags("skv-tokenizer-check", skv::kDescription);
  flags.Add("model", &model, "GGUF file");
  flags.Require("model");
  flags.AddChoice("mode", &mode, {"encode", "encode-special", "decode"},
                  "What to do with each item");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  std::ios::sync_with_stdio(false);
  const absl::Status status = skv::Run(model, mode);
  if (status.ok()) return 0;
  std::cerr << "skv-tokenizer-check: " << status << "\n";
  return 1;
}
