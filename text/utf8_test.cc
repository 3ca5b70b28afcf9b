#include "text/utf8.h"

#include <string>

#include "common/testing/status_matchers.h"

namespace skv::text {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Utf8Test, FindsTheFirstByteThatIsNotWellFormed) {
  const struct {
    const char* why;
    std::string_view text;
    size_t expected;
  } kCases[] = {
      {"plain text", "abc", std::string_view::npos},
      {"NUL is a character", std::string_view("a\0b", 3), std::string_view::npos},
      {"two, three and four bytes", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", std::string_view::npos},
      {"the last character of Unicode", "\xF4\x8F\xBF\xBF", std::string_view::npos},
      {"a continuation alone", "ab\x80", 2},
      {"cut at the end", "ab\xE2\x82", 2},
      {"cut in the middle", "\xE2\x82z", 0},
      {"overlong NUL", "\xC0\x80", 0},
      {"overlong in three bytes", "\xE0\x80\xAF", 0},
      {"a surrogate", "\xED\xA0\x80", 0},
      {"above U+10FFFF", "\xF4\x90\x80\x80", 0},
      {"a byte that UTF-8 never has", "a\xFF", 1},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(FindInvalidUtf8(c.text), c.expected);
  }
}

TEST(Utf8Test, NamesTheFieldTheOffsetAndTheByteOfIllFormedText) {
  EXPECT_OK(ValidateUtf8("caf\xC3\xA9", "prompt"));
  EXPECT_THAT(ValidateUtf8("caf\xC3", "prompt"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("prompt"), HasSubstr("byte 3"), HasSubstr("0xC3"))));
}

TEST(Utf8Test, ReadsAnyBytesAsLlamaCppDoes) {
  const struct {
    const char* why;
    std::string_view bytes, expected;
  } kCases[] = {
      {"well-formed text stays", "a\xE2\x82\xAC", "a\xE2\x82\xAC"},
      {"each stray byte is one U+FFFD", "\x80\xFFz", "\xEF\xBF\xBD\xEF\xBF\xBDz"},
      {"a cut character is one U+FFFD per byte", "\xE2\x82", "\xEF\xBF\xBD\xEF\xBF\xBD"},
      {"an overlong form is shortened", "\xC1\x81", "A"},
      {"a surrogate stays", "\xED\xA0\x80", "\xED\xA0\x80"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(ReadLeniently(c.bytes), c.expected);
  }
}

std::string Decode(std::string_view bytes, size_t piece_size) {
  LossyUtf8Decoder decoder;
  std::string out;
  for (size_t pos = 0; pos < bytes.size(); pos += piece_size) {
    decoder.Push(bytes.substr(pos, piece_size), &out);
    EXPECT_EQ(FindInvalidUtf8(out), std::string_view::npos);
  }
  decoder.Flush(&out);
  return out;
}

TEST(Utf8Test, LossyDecodingReplacesEachMaximalPartHoweverTheBytesAreCut) {
  const std::string kR(kReplacementCharacter);
  const struct {
    const char* why;
    std::string_view bytes;
    std::string expected;
  } kCases[] = {
      {"well-formed", "\xE4\xBD\xA0\xF0\x9F\x98\x80", "\xE4\xBD\xA0\xF0\x9F\x98\x80"},
      {"three of four bytes are one part", "\xF0\x9F\x98z", kR + "z"},
      {"a lead ends the part before it", "\xE2\x82\xE2\x82\xAC", kR + "\xE2\x82\xAC"},
      {"a surrogate is three parts", "\xED\xA0\x80", kR + kR + kR},
      {"an overlong form is one part per byte", "\xC0\x80", kR + kR},
      {"unfinished at the end", "a\xE4\xBD", "a" + kR},
      {"too large", "\xF4\x90\x80\x80", kR + kR + kR + kR},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    for (size_t piece_size = 1; piece_size <= 4; ++piece_size) {
      EXPECT_EQ(Decode(c.bytes, piece_size), c.expected) << "pieces of " << piece_size;
    }
  }
}

}  // namespace
}  // namespace skv::text
