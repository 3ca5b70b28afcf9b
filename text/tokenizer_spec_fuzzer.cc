// Hostile vocabularies, texts, chat templates and stop strings. Input, one after the other:
//   flags       bit 0: the 256 bytes are tokens 0..255, bit 1: add_bos, bit 2: no token types
//   model, pre  strings (a byte for the size, and the bytes); so are all strings below
//   tokens      a byte for their number, then a byte for the type and a string each
//   merges      a byte for their number, then a string each
//   bos, eos    a byte each; 255 for none
//   template    string
//   stops       a byte for their number, then a string each
//   text        the rest

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/log.h"
#include "text/byte_alphabet.h"
#include "text/chat_template.h"
#include "text/detokenizer.h"
#include "text/stop_matcher.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace skv::text {
namespace {

class Input {
 public:
  explicit Input(std::string_view bytes) : bytes_(bytes) {}

  uint8_t Byte() {
    if (bytes_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(bytes_.front());
    bytes_.remove_prefix(1);
    return byte;
  }

  std::string String() {
    const size_t size = Byte();
    std::string result(bytes_.substr(0, size));
    bytes_.remove_prefix(result.size());
    return result;
  }

  std::vector<std::string> Strings() {
    std::vector<std::string> result(Byte());
    for (std::string& string : result) string = String();
    return result;
  }

  std::string_view Rest() const { return bytes_; }

 private:
  std::string_view bytes_;
};

TokenizerSpec ReadSpec(Input* input) {
  TokenizerSpec spec;
  const uint8_t flags = input->Byte();
  spec.model = input->String();
  spec.pre = input->String();
  if (flags & 1) {
    for (int byte = 0; byte < 256; ++byte) {
      spec.tokens.push_back(ByteToCharacter(static_cast<unsigned char>(byte)));
    }
    spec.token_types.assign(256, kTokenNormal);
  }
  for (int num_tokens = input->Byte(); num_tokens > 0; --num_tokens) {
    spec.token_types.push_back(input->Byte());
    spec.tokens.push_back(input->String());
  }
  spec.add_bos = (flags & 2) != 0;
  if (flags & 4) spec.token_types.clear();
  spec.merges = input->Strings();
  spec.bos_id = static_cast<int8_t>(input->Byte());
  spec.eos_id = static_cast<int8_t>(input->Byte());
  spec.chat_template = input->String();
  return spec;
}

std::string Detokenize(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  IncrementalDetokenizer detokenizer(&tokenizer, {.include_control = true});
  std::string text;
  for (const TokenId id : ids) {
    text += detokenizer.Push(id);
    SKV_CHECK(FindInvalidUtf8(text) == std::string_view::npos);
  }
  return text + detokenizer.Flush();
}

void CheckEncoding(const Tokenizer& tokenizer, std::string_view text, bool has_all_bytes) {
  for (const bool parse_special : {false, true}) {
    const auto ids =
        tokenizer.Encode(text, {.parse_special = parse_special, .add_bos = parse_special});
    SKV_CHECK(ids.ok()) << ids.status();
    for (const TokenId id : *ids) {
      SKV_CHECK(tokenizer.IsValid(id));
    }
    const std::string decoded = Detokenize(tokenizer, *ids);
    if (!has_all_bytes || FindInvalidUtf8(text) != std::string_view::npos) continue;
    SKV_CHECK(ids->size() >= tokenizer.MinTokens(text.size()));
    // A user-defined token that merges make decodes to its piece.
    const bool all_normal = std::all_of(ids->begin(), ids->end(), [&](TokenId id) {
      const auto& types = tokenizer.spec().token_types;
      return types.empty() || types[id] == kTokenNormal;
    });
    SKV_CHECK(parse_special || !all_normal || decoded == text);
  }
}

void CheckChat(const Tokenizer& tokenizer, std::string_view text) {
  const auto chat = ChatTemplate::Detect(tokenizer.spec().chat_template);
  if (!chat.ok()) return;
  const std::vector<ChatMessage> messages = {{"user", std::string(text)}, {"assistant", "ok"}};
  SKV_CHECK(chat->Render(messages, true).ok());
  const auto ids = chat->RenderToTokens(tokenizer, messages, true);
  const auto bare = chat->RenderToTokens(tokenizer, {{"user", ""}, {"assistant", "ok"}}, true);
  if (!ids.ok() || !bare.ok()) return;
  const auto num_control = [&](const std::vector<TokenId>& all) {
    int number = 0;
    for (const TokenId id : all) number += tokenizer.IsControl(id) ? 1 : 0;
    return number;
  };
  SKV_CHECK(num_control(*ids) == num_control(*bare)) << "content forged a control token";
}

// Against a search of the whole text.
void CheckStops(const std::vector<std::string>& stops, std::string_view text) {
  auto set = StopSet::Create(stops);
  if (!set.ok()) return;
  StopMatcher matcher(*std::move(set));
  size_t first_end = std::string_view::npos;
  for (const std::string& stop : stops) {
    const size_t begin = text.find(stop);
    if (begin != std::string_view::npos) first_end = std::min(first_end, begin + stop.size());
  }
  std::string shown;
  bool has_matched = false;
  for (size_t pos = 0; pos < text.size(); pos += 3) {
    const StopMatcher::Result result = matcher.Push(text.substr(pos, 3));
    shown += result.text;
    has_matched = result.matched_stop.has_value();
  }
  shown += matcher.Flush();
  SKV_CHECK(has_matched == (first_end != std::string_view::npos));
  SKV_CHECK(text.substr(0, shown.size()) == shown);
  SKV_CHECK(has_matched ? shown.size() < first_end : shown.size() == text.size());
}

}  // namespace
}  // namespace skv::text

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skv::text;
  Input input(std::string_view(reinterpret_cast<const char*>(data), size));
  TokenizerSpec spec = ReadSpec(&input);
  const bool has_all_bytes = spec.tokens.size() >= 256 && spec.tokens[0] == ByteToCharacter(0);
  const std::vector<std::string> stops = input.Strings();
  const std::string_view text = input.Rest();
  CheckStops(stops, text);
  const auto tokenizer = Tokenizer::Create(std::move(spec));
  if (!tokenizer.ok()) return 0;
  CheckEncoding(**tokenizer, text, has_all_bytes);
  CheckChat(**tokenizer, text);
  return 0;
}
