#include "worker/loader/gguf_parser.h"

#include <cstring>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/loader/testing/gguf_writer.h"

namespace skv::loader {
namespace {

using ::testing::HasSubstr;
using Code = absl::StatusCode;

absl::StatusOr<GgufContents> Parse(const std::string& bytes) {
  return ParseGguf(std::as_bytes(std::span(bytes)), "m.gguf");
}

template <typename... Ts>
std::string Pack(Ts... values) {
  std::string out;
  (GgufWriter::Append(&out, values), ...);
  return out;
}

std::string Header(uint64_t num_tensors, uint64_t num_entries, uint32_t version = 3) {
  return "GGUF" + Pack(version, num_tensors, num_entries);
}

// Room for any count to look plausible beside.
const std::string kPadding(4096, '\0');

TEST(GgufParserTest, ReadsBothVersions) {
  for (const uint32_t version : {2u, 3u}) {
    GgufWriter writer;
    writer.AddString("general.name", "x");
    writer.AddTensor("t", {4, 2}, 0, std::string(32, 'd'));
    const std::string bytes = writer.Finish(version);
    ASSERT_OK_AND_ASSIGN(const GgufContents contents, Parse(bytes));
    ASSERT_EQ(contents.tensors.size(), 1u);
    EXPECT_EQ(contents.tensors[0].dims, (std::array<int64_t, 4>{4, 2, 1, 1}));
    EXPECT_EQ(contents.tensors[0].data[31], std::byte{'d'});
  }
}

TEST(GgufParserTest, HonoursTheAlignmentOfTheFile) {
  GgufWriter writer;
  writer.AddUint32("general.alignment", 8);
  writer.AddTensorInfo("aaaa", {2}, 0, 0);
  writer.AddTensorInfo("bbbb", {2}, 0, 8);
  // The description has 129 bytes: data begins at 136, not at the default's 160.
  const std::string bytes = writer.Finish().substr(0, 136) + "AAAAAAAABBBBBBBB";
  ASSERT_OK_AND_ASSIGN(const GgufContents contents, Parse(bytes));
  EXPECT_EQ(contents.tensors[1].data.size(), 8u);
  EXPECT_EQ(contents.tensors[1].data[0], std::byte{'B'});
}

TEST(GgufParserTest, RefusesDamagedHeaders) {
  const struct {
    const char* why;
    std::string bytes;
    Code code;
    const char* message;
  } kCases[] = {
      {"zero length", "", Code::kDataLoss, "m.gguf: is empty, expected a GGUF model file"},
      {"cut in the magic", "GGU", Code::kDataLoss,
       "m.gguf: at byte 0: GGUF magic: needs 4 bytes, only 3 are left"},
      {"another format", "PK\3\4" + kPadding, Code::kDataLoss,
       "m.gguf: starts with \"PK\\x03\\x04\", expected \"GGUF\""},
      {"version 1", Header(0, 0, 1) + kPadding, Code::kUnimplemented,
       "GGUF version 1, expected 2 or 3"},
      {"big-endian", Header(0, 0, 0x03000000) + kPadding, Code::kUnimplemented,
       "the file is big-endian"},
      {"more entries than bytes", Header(0, ~0ull) + kPadding, Code::kDataLoss,
       "number of metadata entries: 18446744073709551615 do not fit the file's 4120 bytes"},
      {"more tensors than bytes", Header(1ull << 60, 0) + kPadding, Code::kDataLoss,
       "number of tensors: 1152921504606846976 do not fit"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_THAT(Parse(c.bytes), StatusIs(c.code, HasSubstr(c.message)));
  }
}

TEST(GgufParserTest, RefusesDamagedMetadata) {
  const auto file = [](const std::string& entry) { return Header(0, 1) + entry + kPadding; };
  const std::string key = Pack(uint64_t{1}) + "k";
  const struct {
    const char* why;
    std::string bytes;
    const char* message;
  } kCases[] = {
      {"key longer than allowed", file(Pack(uint64_t{1} << 40)),
       "m.gguf: at byte 32: key of metadata entry 0: length 1099511627776, expected at most 65535"},
      {"key longer than the file", file(Pack(uint64_t{60000})),
       "key of metadata entry 0: needs 60000 bytes, only 4096 are left"},
      {"unknown type", file(key + Pack(uint32_t{13})),
       "metadata key k: value type 13, expected 0 to 12"},
      {"string of 2^64 - 1 bytes", file(key + Pack(uint32_t{8}, ~0ull)),
       "metadata key k: needs 18446744073709551615 bytes, only 4096 are left"},
      {"array of 2^61 uint64", file(key + Pack(uint32_t{9}, uint32_t{10}, uint64_t{1} << 61)),
       "metadata key k: 2305843009213693952 values of uint64 need at least 8 bytes each"},
      {"array of strings", file(key + Pack(uint32_t{9}, uint32_t{8}, uint64_t{1} << 60)),
       "1152921504606846976 values of string need at least 8 bytes each"},
      {"array of arrays", file(key + Pack(uint32_t{9}, uint32_t{9}, uint64_t{1})),
       "metadata key k: array of arrays, expected plain elements"},
      {"bool of 2", file(key + Pack(uint32_t{7}, uint8_t{2})), "a bool is neither 0 nor 1"},
      {"key twice",
       Header(0, 2) + key + Pack(uint32_t{0}, uint8_t{1}) + key + Pack(uint32_t{0}, uint8_t{1}) +
           kPadding,
       "metadata key k: is there twice"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    EXPECT_THAT(Parse(c.bytes), StatusIs(Code::kDataLoss, HasSubstr(c.message)));
  }
}

TEST(GgufParserTest, RefusesAlignmentsThatAreNone) {
  for (const uint32_t alignment : {0u, 4u, 24u, 1u << 21}) {
    GgufWriter writer;
    writer.AddUint32("general.alignment", alignment);
    EXPECT_THAT(Parse(writer.Finish()),
                StatusIs(Code::kDataLoss, HasSubstr("expected a power of two from 8 to 1048576")));
  }
}

struct TensorInfo {
  std::string name = "t";
  std::vector<uint64_t> dims = {32, 2};
  uint32_t type = 0;
  uint64_t offset = 0;
};

TEST(GgufParserTest, RefusesDamagedTensors) {
  const uint64_t big = uint64_t{1} << 32;
  const struct {
    const char* why;
    std::vector<TensorInfo> tensors;
    Code code;
    const char* message;
  } kCases[] = {
      {"no name", {{.name = ""}}, Code::kDataLoss, "tensor 0: no name"},
      {"long name",
       {{.name = std::string(256, 'x')}},
       Code::kDataLoss,
       "name of tensor 0: length 256, expected at most 255"},
      {"name twice", {{}, {.offset = 256}}, Code::kDataLoss, "tensor t: is there twice"},
      {"no dimensions", {{.dims = {}}}, Code::kDataLoss, "tensor t: 0 dimensions, expected 1 to 4"},
      {"five dimensions", {{.dims = {1, 1, 1, 1, 1}}}, Code::kDataLoss, "tensor t: 5 dimensions"},
      {"dimension of zero",
       {{.dims = {32, 0}}},
       Code::kDataLoss,
       "tensor t: dimension 1 is 0, which makes no elements"},
      {"product overflows",
       {{.dims = {big, big, big}}},
       Code::kDataLoss,
       "tensor t: dimension 1 is 4294967296, which makes more than 2^48 elements"},
      {"one huge dimension",
       {{.dims = {~0ull}}},
       Code::kDataLoss,
       "dimension 0 is 18446744073709551615"},
      {"type that ggml has",
       {{.type = 16}},
       Code::kUnimplemented,
       "m.gguf: tensor t: type IQ2_XXS (16), expected one of F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, "
       "Q8_0, Q4_K, Q5_K, Q6_K, BF16"},
      {"type of the future",
       {{.type = 4000000000u}},
       Code::kUnimplemented,
       "type unknown (4000000000)"},
      {"row not in blocks",
       {{.dims = {33}, .type = 2}},
       Code::kDataLoss,
       "tensor t: rows of 33 values, expected a multiple of 32 for Q4_0"},
      {"odd offset",
       {{.offset = 8}},
       Code::kDataLoss,
       "tensor t: offset 8, expected a multiple of 32"},
      {"past the end",
       {{.offset = 1 << 20}},
       Code::kDataLoss,
       "tensor t: needs 256 bytes at 104857"},
      {"past the end by less than what stands before the data",
       {{.offset = 8192 - 256 + 32}},
       Code::kDataLoss,
       "tensor t: needs 256 bytes at 7968"},
      {"offset wraps",
       {{.offset = ~0ull - 31}},
       Code::kDataLoss,
       "needs 256 bytes at 18446744073709551584"},
      {"larger than the file", {{.dims = {big}}}, Code::kDataLoss, "needs 17179869184 bytes at 0"},
      {"one inside another",
       {{.name = "a"}, {.name = "b", .offset = 224}},
       Code::kDataLoss,
       "m.gguf: tensor b: offset 224 lies inside tensor a, which ends at 256"},
      {"escape sequences",
       {{.name = "\x1b[31m\xff", .dims = {}}},
       Code::kDataLoss,
       "tensor \\x1b[31m\\xff: 0 dimensions"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    GgufWriter writer;
    for (const TensorInfo& tensor : c.tensors) {
      writer.AddTensorInfo(tensor.name, tensor.dims, tensor.type, tensor.offset);
    }
    EXPECT_THAT(Parse(writer.Finish() + std::string(8192, '\0')),
                StatusIs(c.code, HasSubstr(c.message)));
  }
}

TEST(GgufParserTest, ReadsValuesOfEveryType) {
  GgufWriter writer;
  writer.AddRaw("u8", 0, Pack(uint8_t{200}));
  writer.AddRaw("i8", 1, Pack(int8_t{-5}));
  writer.AddRaw("u16", 2, Pack(uint16_t{60000}));
  writer.AddRaw("i16", 3, Pack(int16_t{-300}));
  writer.AddRaw("u64", 10, Pack(~uint64_t{0}));
  writer.AddRaw("i64", 11, Pack(int64_t{1} << 40));
  writer.AddRaw("f64", 12, Pack(2.5));
  writer.AddFloat("f32", 0.5f);
  writer.AddBool("yes", true);
  writer.AddString("text", std::string("a\0b", 3));
  writer.AddStrings("texts", {"", "x", "yz"});
  writer.AddInt32s("ints", {-1, 7});
  writer.AddRaw("narrow_ints", 9, Pack(uint32_t{1}, uint64_t{3}, int8_t{-1}, int8_t{2}, int8_t{3}));
  writer.AddRaw("wide_ints", 9, Pack(uint32_t{11}, uint64_t{2}, int64_t{-5}, int64_t{6}));
  writer.AddRaw("big_ints", 9, Pack(uint32_t{10}, uint64_t{1}, uint64_t{1} << 31));
  const std::string bytes = writer.Finish();
  ASSERT_OK_AND_ASSIGN(const GgufContents contents, Parse(bytes));
  const GgufMetadata& metadata = contents.metadata;
  EXPECT_EQ(*metadata.Uint("u8"), 200u);
  EXPECT_EQ(*metadata.Uint("u16"), 60000u);
  EXPECT_EQ(*metadata.Uint("u64"), ~uint64_t{0});
  EXPECT_EQ(*metadata.Uint("i64"), uint64_t{1} << 40);
  EXPECT_EQ(*metadata.Float("f64"), 2.5);
  EXPECT_EQ(*metadata.Float("f32"), 0.5);
  EXPECT_TRUE(*metadata.BoolOr("yes", false));
  EXPECT_EQ(*metadata.String("text"), std::string_view("a\0b", 3));
  EXPECT_EQ(*metadata.Strings("texts"), (std::vector<std::string_view>{"", "x", "yz"}));
  EXPECT_EQ(*metadata.Int32s("ints"), (std::vector<int32_t>{-1, 7}));
  EXPECT_EQ(*metadata.Int32s("narrow_ints"), (std::vector<int32_t>{-1, 2, 3}));
  EXPECT_EQ(*metadata.Int32s("wide_ints"), (std::vector<int32_t>{-5, 6}));

  EXPECT_THAT(metadata.Uint("i8"), StatusIs(Code::kDataLoss, HasSubstr("key i8: is -5, expected")));
  EXPECT_THAT(metadata.Uint("i16"), StatusIs(Code::kDataLoss, HasSubstr("is -300")));
  EXPECT_THAT(
      metadata.Uint("ints"),
      StatusIs(Code::kDataLoss, HasSubstr("key ints: is an array of int32, expected an integer")));
  EXPECT_THAT(
      metadata.Int32s("big_ints"),
      StatusIs(Code::kDataLoss, HasSubstr("element 0 does not fit a signed 32-bit number")));
  EXPECT_THAT(metadata.String("u8"),
              StatusIs(Code::kDataLoss, HasSubstr("key u8: is uint8, expected string")));
  EXPECT_THAT(metadata.Float("none"),
              StatusIs(Code::kNotFound, HasSubstr("m.gguf: metadata key none is missing")));
  EXPECT_EQ(*metadata.UintOr("none", 3), 3u);
  EXPECT_EQ(*metadata.StringOr("none", "x"), "x");
  EXPECT_THAT(metadata.UintOr("text", 3), StatusIs(Code::kDataLoss, HasSubstr("is string")));
}

}  // namespace
}  // namespace skv::loader
