// Any bytes as tokens of a vocabulary of bytes and of pieces. Input, one after the other:
//   pieces  a byte for their number, then for each a byte for its type and size (bit 7: a control
//           token) and its bytes
//   tokens  the rest, 2 bytes each, low byte first

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/log.h"
#include "text/sentence_segmenter.h"
#include "text/testing/reference_segmenter.h"
#include "text/testing/tiny_spec.h"

namespace skv::text {
namespace {

constexpr size_t kMaxTokens = 1024;  // the reference takes quadratic time

// Takes what it reads off the front of `input`. Pieces that are there twice are left out.
TokenizerSpec ReadSpec(std::string_view* input) {
  TokenizerSpec spec = TinySpec({});
  const auto next_byte = [&] {
    if (input->empty()) return uint8_t{0};
    const auto byte = static_cast<uint8_t>(input->front());
    input->remove_prefix(1);
    return byte;
  };
  for (int num_pieces = next_byte(); num_pieces > 0; --num_pieces) {
    const uint8_t header = next_byte();
    std::string piece;
    for (const char c : input->substr(0, header & 0x7F)) {
      piece += ByteToCharacter(static_cast<unsigned char>(c));
    }
    input->remove_prefix(std::min<size_t>(header & 0x7F, input->size()));
    if (piece.empty() || std::ranges::find(spec.tokens, piece) != spec.tokens.end()) continue;
    spec.tokens.push_back(piece);
    spec.token_types.push_back((header & 0x80) != 0 ? kTokenControl : kTokenNormal);
  }
  return spec;
}

std::vector<int> ReadTokens(std::string_view input) {
  std::vector<int> tokens;
  for (size_t pos = 0; pos + 1 < input.size() && tokens.size() < kMaxTokens; pos += 2) {
    tokens.push_back(static_cast<uint8_t>(input[pos]) | static_cast<uint8_t>(input[pos + 1]) << 8);
  }
  return tokens;
}

void CheckCaps(const std::vector<int>& ends, size_t num_tokens) {
  int begin = 0;
  for (const int end : ends) {
    SKV_CHECK(end - begin >= kMinSentenceTokens && end - begin <= kMaxSentenceTokens);
    begin = end;
  }
  SKV_CHECK(static_cast<int>(num_tokens) - begin <= kMaxSentenceTokens);
}

// A fork in the middle goes on as the whole; the whole is `ends`.
void CheckFork(const std::shared_ptr<const SentenceSegmenter>& segmenter,
               const std::vector<int>& tokens, const std::vector<int>& ends) {
  SentenceStream original(segmenter);
  const size_t middle = tokens.size() / 2;
  for (size_t idx = 0; idx < middle; ++idx) original.Feed(tokens[idx]);
  SentenceStream fork = original;
  for (const int disturbance : {int{'.'}, int{'\n'}, kTinyImEnd}) original.Feed(disturbance);
  std::vector<int> late_ends;
  for (size_t idx = middle; idx < tokens.size(); ++idx) {
    const std::optional<int> end = fork.Feed(tokens[idx]);
    SKV_CHECK(!end || *end == fork.num_fed() - 1);
    if (end) late_ends.push_back(*end);
  }
  SKV_CHECK(std::equal(late_ends.rbegin(), late_ends.rend(), ends.rbegin(),
                       ends.rbegin() + static_cast<ptrdiff_t>(late_ends.size())));
}

}  // namespace
}  // namespace skv::text

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skv::text;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const TokenizerSpec spec = ReadSpec(&input);
  const std::vector<int> tokens = ReadTokens(input);
  const auto segmenter = SentenceSegmenter::Create(spec);
  SKV_CHECK(segmenter.ok()) << segmenter.status();
  const std::vector<int> ends = SentenceEnds(**segmenter, tokens);
  CheckCaps(ends, tokens.size());
  CheckFork(*segmenter, tokens, ends);
  SKV_CHECK(ends == ReferenceSentenceEnds(spec, tokens));
  return 0;
}
