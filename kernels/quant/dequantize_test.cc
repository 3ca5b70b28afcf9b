// Against tests/golden/quant_blocks.bin (generator: tests/golden/quant_blocks.py), the gguf
// package's dequantisation of random blocks.

#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/quant/quant_type.h"

namespace skv::kernels {
namespace {

struct GoldenCase {
  QuantType type;
  std::vector<std::byte> blocks;
  std::vector<float> values;
};

// Records of u32 type, u32 block bytes in all, u32 values, then both arrays.
std::vector<GoldenCase> ReadGoldens() {
  std::ifstream file("tests/golden/quant_blocks.bin", std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<GoldenCase> cases;
  size_t offset = 0;
  while (offset + 12 <= bytes.size()) {
    uint32_t header[3];
    std::memcpy(header, bytes.data() + offset, sizeof(header));
    offset += sizeof(header);
    GoldenCase c;
    c.type = static_cast<QuantType>(header[0]);
    c.blocks.resize(header[1]);
    c.values.resize(header[2]);
    if (offset + header[1] + 4ull * header[2] > bytes.size()) return {};
    std::memcpy(c.blocks.data(), bytes.data() + offset, header[1]);
    std::memcpy(c.values.data(), bytes.data() + offset + header[1], 4ull * header[2]);
    offset += header[1] + 4ull * header[2];
    cases.push_back(std::move(c));
  }
  return cases;
}

TEST(DequantizeRowTest, EqualsTheGgufPackageBitForBit) {
  const std::vector<GoldenCase> cases = ReadGoldens();
  ASSERT_EQ(cases.size(), 11u) << "tests/golden/quant_blocks.bin is missing or damaged";
  for (const GoldenCase& c : cases) {
    SCOPED_TRACE(QuantTypeName(c.type));
    const int64_t num_elements = static_cast<int64_t>(c.values.size());
    ASSERT_EQ(num_elements / BlockElements(c.type) * BlockBytes(c.type),
              static_cast<int64_t>(c.blocks.size()));
    std::vector<float> values(c.values.size());
    DequantizeRow(c.type, c.blocks.data(), num_elements, values.data());
    EXPECT_EQ(values, c.values);
  }
}

TEST(DequantizeRowTest, ReadsUnalignedBlocks) {
  for (const GoldenCase& c : ReadGoldens()) {
    SCOPED_TRACE(QuantTypeName(c.type));
    std::vector<std::byte> shifted(c.blocks.size() + 1);
    std::memcpy(shifted.data() + 1, c.blocks.data(), c.blocks.size());
    std::vector<float> values(c.values.size());
    DequantizeRow(c.type, shifted.data() + 1, static_cast<int64_t>(values.size()), values.data());
    EXPECT_EQ(values, c.values);
  }
}

}  // namespace
}  // namespace skv::kernels
