// Damaged model files, loaded the way a worker loads one. Each is refused with an error that names
// the file and what in it is wrong, or, where the format has nothing to notice the damage by, gives
// a model with another fingerprint. None crashes.

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "common/status.h"
#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/loader/fingerprint.h"
#include "worker/loader/llama_weights.h"
#include "worker/loader/shard_plan.h"
#include "worker/loader/testing/gguf_writer.h"
#include "worker/loader/testing/tiny_llama.h"
#include "worker/loader/tokenizer_spec_loader.h"

namespace skv::loader {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Code = absl::StatusCode;

// What a worker does before it computes anything; the model's fingerprint.
absl::StatusOr<std::string> Load(const GgufFile& file) {
  SKV_ASSIGN_OR_RETURN(const LlamaConfig config, ReadLlamaConfig(file));
  SKV_ASSIGN_OR_RETURN(const LlamaTensors tensors, FindLlamaTensors(file, config));
  SKV_RETURN_IF_ERROR(MakeShardPlan(config, tensors, 1, 0).status());
  SKV_ASSIGN_OR_RETURN(const text::TokenizerSpec tokenizer, ReadTokenizerSpec(file));
  return ToHex(ModelFingerprint(WeightsFingerprint(file, config), tokenizer));
}

absl::StatusOr<std::string> LoadBytes(std::string_view bytes) {
  SKV_ASSIGN_OR_RETURN(const auto file,
                       GgufFile::Parse(std::as_bytes(std::span(bytes)), "damaged.gguf"));
  return Load(*file);
}

absl::StatusOr<std::string> LoadPath(const std::string& path) {
  SKV_ASSIGN_OR_RETURN(const auto file, GgufFile::Open(path));
  return Load(*file);
}

// Where the first tensor's data begins.
size_t DataBegin(const std::string& bytes) {
  const auto file = *GgufFile::Parse(std::as_bytes(std::span(bytes)), "m.gguf");
  size_t begin = bytes.size();
  for (const TensorView& tensor : file->tensors()) {
    begin = std::min(begin, static_cast<size_t>(reinterpret_cast<const char*>(tensor.data.data()) -
                                                bytes.data()));
  }
  return begin;
}

// Overwrites the bytes after the first occurrence of `text`.
std::string Patch(std::string bytes, std::string_view text, size_t offset, std::string_view patch) {
  const size_t at = bytes.find(text);
  EXPECT_NE(at, std::string::npos) << text;
  return bytes.replace(at + text.size() + offset, patch.size(), patch);
}

template <typename T>
std::string Packed(T value) {
  std::string out;
  GgufWriter::Append(&out, value);
  return out;
}

TEST(DamagedModelFileTest, EachDamageIsNamed) {
  const std::string good = TinyLlamaGguf();
  TinyLlamaOptions no_tokenizer;
  no_tokenizer.has_tokenizer = false;
  // After a tensor's name: number of dimensions, two dimensions, type, offset.
  constexpr size_t kDims = 4, kType = 4 + 16, kOffset = 4 + 16 + 4;
  const std::string q = "blk.1.attn_q.weight";
  const struct {
    const char* damage;
    std::string bytes;
    Code code;
    std::string message;
  } kCases[] = {
      {"zero length", "", Code::kDataLoss, "is empty, expected a GGUF model file"},
      {"not a model", "<!DOCTYPE html>", Code::kDataLoss,
       "starts with \"<!DO\", expected \"GGUF\""},
      {"truncated download", good.substr(0, good.size() - 300), Code::kDataLoss,
       "tensor blk.1.ffn_down.weight: needs 5120 bytes at "},
      {"wrong architecture", Patch(good, "general.architecture", 4 + 8, "gemma"),
       Code::kUnimplemented, "general.architecture is gemma, expected llama"},
      {"tensor past the end", Patch(good, q, kOffset, Packed(uint64_t{1} << 40)), Code::kDataLoss,
       "tensor blk.1.attn_q.weight: needs 2560 bytes at 1099511627776 after byte "},
      {"overflowing dimensions",
       Patch(good, q, kDims, Packed(uint64_t{1} << 33) + Packed(uint64_t{1} << 33)),
       Code::kDataLoss, "tensor blk.1.attn_q.weight: dimension 1 is 8589934592, which makes more"},
      {"long token piece", Patch(good, "<|im_end|>", 0, Packed(uint64_t{1} << 30)), Code::kDataLoss,
       "metadata key tokenizer.ggml.tokens: needs 1073741824 bytes, only "},
      {"unknown quantisation", Patch(good, q, kType, Packed(uint32_t{23})), Code::kUnimplemented,
       "tensor blk.1.attn_q.weight: type IQ4_XS (23), expected one of F32, F16, "},
      {"missing tokenizer", TinyLlamaGguf(no_tokenizer), Code::kNotFound,
       "has no tokenizer: metadata key tokenizer.ggml.model is missing"},
      {"missing tensor", Patch(good, "blk.1.attn_", 0, "x"), Code::kNotFound,
       "tensor blk.1.attn_norm.weight is missing"},
      {"dimensions exchanged",
       Patch(good, "blk.0.ffn_up.weight", kDims, Packed(uint64_t{128}) + Packed(uint64_t{64})),
       Code::kDataLoss, "tensor blk.0.ffn_up.weight: shape [64, 128], expected [128, 64]"},
      {"absurd layer count", Patch(good, "llama.block_count", 4, Packed(~uint32_t{0})),
       Code::kDataLoss, "metadata key llama.block_count: is 4294967295, expected 1 to 1024"}};
  ASSERT_OK(LoadBytes(good));
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.damage);
    EXPECT_THAT(LoadBytes(c.bytes),
                StatusIs(c.code, AllOf(StartsWith("damaged.gguf: "), HasSubstr(c.message))));
  }
}

TEST(DamagedModelFileTest, RefusesEveryTruncation) {
  const std::string good = TinyLlamaGguf({.num_layers = 1});
  const size_t data_begin = DataBegin(good);
  // Every byte of the description, then every 16th of the data. The last 32 are not padding.
  for (size_t length = 0; length < good.size(); length += length < data_begin ? 1 : 16) {
    ASSERT_THAT(LoadBytes(std::string_view(good).substr(0, length)),
                StatusIs(Code::kDataLoss, StartsWith("damaged.gguf: ")))
        << "cut to " << length << " of " << good.size() << " bytes";
  }
}

TEST(DamagedModelFileTest, SurvivesEveryFlippedBitOfTheDescription) {
  std::string bytes = TinyLlamaGguf({.num_layers = 1});
  ASSERT_OK_AND_ASSIGN(const std::string good, LoadBytes(bytes));
  const size_t data_begin = DataBegin(bytes);
  int num_refused = 0;
  std::vector<std::string> unnoticed;  // runs of bytes
  size_t last_unnoticed = 0;
  for (size_t i = 0; i < data_begin; ++i) {
    // One bit per byte, another one each time: all eight would take a minute under sanitizers.
    const char bit = static_cast<char>(1 << (i * 5 % 8));
    bytes[i] ^= bit;
    const absl::StatusOr<std::string> fingerprint = LoadBytes(bytes);
    const absl::Status status = fingerprint.status();
    bytes[i] ^= bit;
    if (!status.ok()) {
      ++num_refused;
      ASSERT_THAT(status, StatusIs(status.code(), StartsWith("damaged.gguf: "))) << "byte " << i;
    } else if (*fingerprint == good) {
      if (unnoticed.empty() || i != last_unnoticed + 1) unnoticed.emplace_back();
      unnoticed.back().push_back(bytes[i]);
      last_unnoticed = i;
    }
  }
  // Most bytes are lengths, types, keys and names. What may pass as the same model: its name, the
  // context length, keys whose value is the default, and padding.
  EXPECT_GT(num_refused, static_cast<int>(data_begin) / 2);
  EXPECT_THAT(unnoticed,
              ElementsAre("general.name", "tiny", std::string("\0\2\0", 3),
                          "llama.attention.key_length", "llama.attention.value_length",
                          "llama.rope.dimension_count", "llama.rope.freq_base", "llama.vocab_size",
                          "tokenizer.ggml.add_bos_token", std::string(26, '\0')));
}

TEST(DamagedModelFileTest, AFlippedWeightBitChangesTheFingerprint) {
  std::string bytes = TinyLlamaGguf({.num_layers = 1});
  ASSERT_OK_AND_ASSIGN(const std::string good, LoadBytes(bytes));
  const size_t data_begin = DataBegin(bytes);
  for (size_t i = data_begin; i < bytes.size(); i += 997) {
    bytes[i] ^= 0x10;
    ASSERT_OK_AND_ASSIGN(const std::string damaged, LoadBytes(bytes));
    EXPECT_NE(damaged, good) << "byte " << i;
    bytes[i] ^= 0x10;
  }
}

TEST(DamagedModelFileTest, FilesOnDiskFailLikeBytesInMemory) {
  const TinyLlamaFile tiny;
  const auto size = std::filesystem::file_size(tiny.path());
  ASSERT_OK(LoadPath(tiny.path()));
  const std::string name = std::filesystem::path(tiny.path()).filename().string();
  std::filesystem::resize_file(tiny.path(), size / 2);
  EXPECT_THAT(LoadPath(tiny.path()),
              StatusIs(Code::kDataLoss, StartsWith(name + ": tensor blk.0")));
  std::filesystem::resize_file(tiny.path(), 0);
  EXPECT_THAT(LoadPath(tiny.path()),
              StatusIs(Code::kDataLoss, StartsWith(name + ": is empty, expected")));
}

}  // namespace
}  // namespace skv::loader
