#include "text/token_text.h"

#include <memory>

#include "common/testing/status_matchers.h"
#include "text/testing/tiny_spec.h"

namespace skv::text {
namespace {

std::unique_ptr<Tokenizer> TinyTokenizer(bool add_bos) {
  TokenizerSpec spec = TinySpec({"h e"});
  spec.add_bos = add_bos;
  return Tokenizer::Create(spec).value();
}

TEST(TokenTextTest, RunsOfTokensHaveTheBytesThatTheyStandFor) {
  const auto tokenizer = TinyTokenizer(/*add_bos=*/false);
  const TokenText text(*tokenizer, {kTinyImStart, kTinyFirstMerge, 'y', 0xc3, 0xa9});
  EXPECT_EQ(text.num_tokens(), 5);
  EXPECT_EQ(text.TextOf(0, 5), "<|im_start|>hey\xc3\xa9");
  EXPECT_EQ(text.BytesOf(1, 3), (ByteRange{12, 15}));
  EXPECT_EQ(text.TextOf(1, 3), "hey");
  EXPECT_EQ(text.TextOf(2, 2), "");
  EXPECT_EQ(text.TextOf(2, 4), "y\xef\xbf\xbd");
  EXPECT_EQ(text.TextOf(4, 5), "\xef\xbf\xbd");
  EXPECT_EQ(text.BytesOf(3, 5), (ByteRange{15, 17}));
}

TEST(TokenTextTest, TheTokenThatEncodeAddsHasNoBytes) {
  for (const bool add_bos : {false, true}) {
    SCOPED_TRACE(add_bos);
    const auto tokenizer = TinyTokenizer(add_bos);
    const std::string text = "he said";
    ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer->Encode(text, {.add_bos = true}));
    const TokenText encoded = TokenText::OfEncoded(*tokenizer, ids);
    EXPECT_EQ(encoded.num_tokens(), static_cast<int>(ids.size()));
    EXPECT_EQ(encoded.TextOf(0, encoded.num_tokens()), text);
    EXPECT_EQ(encoded.BytesOf(add_bos ? 1 : 0, add_bos ? 2 : 1), (ByteRange{0, 2}));
  }
}

}  // namespace
}  // namespace skv::text
