// The ids and texts that llama.cpp and Hugging Face tokenizers give (make_goldens.py).

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/testing/status_matchers.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/tokenizer_spec_loader.h"

namespace skv::text {
namespace {

constexpr const char* kGoldenFolder = "eval/tokenizer/golden/";
constexpr size_t kLinesPerFile = 2000;  // 500 of each of four classes

std::string DefaultModel() {
  const char* model = std::getenv("SKV_MODEL");
  return model != nullptr ? model : "models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

std::unique_ptr<Tokenizer> LoadTokenizer(const std::string& path) {
  const auto file = loader::GgufFile::Open(path);
  if (!file.ok()) {
    ADD_FAILURE() << file.status() << "; run 'make model', or set SKV_MODEL";
    return nullptr;
  }
  auto spec = loader::ReadTokenizerSpec(**file);
  EXPECT_OK(spec);
  if (!spec.ok()) return nullptr;
  auto tokenizer = Tokenizer::Create(std::move(spec).value());
  EXPECT_OK(tokenizer);
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

struct GoldenLine {
  bool parse_special;
  std::string line;
  std::vector<TokenId> ids;
  std::string text;
};

std::string TakeItem(std::string_view* data) {
  uint32_t size = 0;
  std::memcpy(&size, data->data(), sizeof(size));
  std::string item(data->substr(sizeof(size), size));
  data->remove_prefix(sizeof(size) + item.size());
  return item;
}

std::vector<GoldenLine> ReadGoldens(const std::string& name) {
  std::ifstream file(kGoldenFolder + name, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::vector<GoldenLine> lines;
  for (std::string_view data = bytes; !data.empty();) {
    GoldenLine line{.parse_special = data[0] != 0};
    data.remove_prefix(1);
    line.line = TakeItem(&data);
    const std::string ids = TakeItem(&data);
    for (size_t pos = 0; pos < ids.size(); pos += sizeof(uint16_t)) {
      uint16_t id = 0;
      std::memcpy(&id, ids.data() + pos, sizeof(id));
      line.ids.push_back(id);
    }
    line.text = TakeItem(&data);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string Decode(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  IncrementalDetokenizer detokenizer(&tokenizer, {.include_control = true});
  std::string text;
  for (const TokenId id : ids) text += detokenizer.Push(id);
  return text + detokenizer.Flush();
}

void ExpectGoldens(const std::string& model, const std::string& name) {
  const auto tokenizer = LoadTokenizer(model);
  ASSERT_NE(tokenizer, nullptr);
  const std::vector<GoldenLine> goldens = ReadGoldens(name);
  ASSERT_EQ(goldens.size(), kLinesPerFile) << kGoldenFolder << name;
  int num_differences = 0;
  for (const GoldenLine& golden : goldens) {
    const auto ids = tokenizer->Encode(golden.line, {.parse_special = golden.parse_special});
    ASSERT_OK(ids);
    if (*ids == golden.ids && Decode(*tokenizer, *ids) == golden.text) continue;
    if (++num_differences > 5) continue;
    EXPECT_EQ(*ids, golden.ids) << absl::CHexEscape(golden.line);
    EXPECT_EQ(Decode(*tokenizer, golden.ids), golden.text) << absl::CHexEscape(golden.line);
  }
  EXPECT_EQ(num_differences, 0);
}

TEST(TokenizerGoldenTest, EqualsLlamaCppOnTheDefaultModel) {
  ExpectGoldens(DefaultModel(), "smollm2.bin");
}

TEST(TokenizerGoldenTest, EqualsHuggingFaceOnALlama3StyleVocabulary) {
  ExpectGoldens(std::string(kGoldenFolder) + "llama3_style.gguf", "llama3_style.bin");
}

}  // namespace
}  // namespace skv::text
