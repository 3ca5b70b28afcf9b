#include "worker/loader/gguf_file.h"

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::loader {
namespace {

using ::testing::HasSubstr;

TEST(GgufFileTest, MapsAFileAndFindsItsTensors) {
  const TinyLlamaFile tiny;
  ASSERT_OK_AND_ASSIGN(const auto file, GgufFile::Open(tiny.path()));
  EXPECT_EQ(file->tensors().size(), 2u + 2 * 9);
  EXPECT_EQ(file->FindTensor("no such tensor"), nullptr);
  const TensorView* down = file->FindTensor("blk.1.ffn_down.weight");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->type, kernels::QuantType::kQ4_1);
  EXPECT_EQ(down->num_dims, 2);
  EXPECT_EQ(down->dims, (std::array<int64_t, 4>{128, 64, 1, 1}));
  EXPECT_EQ(down->num_rows(), 64);
  EXPECT_EQ(down->row_bytes(), 128 / 32 * 20);
  EXPECT_EQ(down->data.size(), 64u * 80u);
}

TEST(GgufFileTest, KeepsItsBytesWhenPagesAreDropped) {
  const TinyLlamaFile tiny;
  ASSERT_OK_AND_ASSIGN(const auto file, GgufFile::Open(tiny.path()));
  const TensorView& tensor = file->tensors()[3];
  const std::vector<std::byte> before(tensor.data.begin(), tensor.data.end());
  file->DropPages(tensor.data);
  file->DropAllPages();
  EXPECT_EQ(std::vector<std::byte>(tensor.data.begin(), tensor.data.end()), before);
}

// Resident kB of this process's mapping of `path`, -1 when it has none.
int64_t ResidentKb(const std::string& path) {
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  while (std::getline(smaps, line) && line.find(path) == std::string::npos) {
  }
  int64_t resident_kb = -1;
  while (std::getline(smaps, line)) {
    if (std::sscanf(line.c_str(), "Rss: %ld kB", &resident_kb) == 1) break;
  }
  return resident_kb;
}

TEST(GgufFileTest, DroppedPagesAreNoLongerResident) {
  TinyLlamaOptions options;
  options.hidden = options.ffn = 512;  // about a megabyte
  const TinyLlamaFile tiny(options);
  ASSERT_OK_AND_ASSIGN(const auto file, GgufFile::Open(tiny.path()));
  int sum = 0;
  for (const TensorView& tensor : file->tensors()) {
    for (const std::byte b : tensor.data) sum += static_cast<int>(b);
  }
  ASSERT_GT(sum, 0);
  EXPECT_GE(ResidentKb(tiny.path()) * 1024, static_cast<int64_t>(file->size_bytes()) - 65536);
  file->DropAllPages();
  EXPECT_EQ(ResidentKb(tiny.path()), 0);
}

TEST(GgufFileTest, ReadsBytesInMemoryAsItReadsAFile) {
  const std::string bytes = TinyLlamaGguf();
  const TinyLlamaFile tiny;
  ASSERT_OK_AND_ASSIGN(const auto in_memory, GgufFile::Parse(std::as_bytes(std::span(bytes)), "m"));
  ASSERT_OK_AND_ASSIGN(const auto mapped, GgufFile::Open(tiny.path()));
  ASSERT_EQ(in_memory->tensors().size(), mapped->tensors().size());
  for (size_t i = 0; i < mapped->tensors().size(); ++i) {
    const TensorView& a = in_memory->tensors()[i];
    const TensorView& b = mapped->tensors()[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_TRUE(std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end())) << a.name;
  }
}

TEST(GgufFileTest, SaysWhyAPathCannotBeOpened) {
  EXPECT_THAT(
      GgufFile::Open("/no/such/model.gguf"),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such/model.gguf: No such file")));
  EXPECT_THAT(GgufFile::Open(testing::TempDir()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not a regular file")));
}

}  // namespace
}  // namespace skv::loader
