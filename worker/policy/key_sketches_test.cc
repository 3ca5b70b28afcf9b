#include "worker/policy/key_sketches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

namespace skv::policy {
namespace {

constexpr int kHeadDim = 32, kKeys = 50;

// Key i is like no other.
std::vector<float> SomeKeys() {
  std::vector<float> keys(kKeys * kHeadDim);
  std::iota(keys.begin(), keys.end(), 1.0f);
  return keys;
}

// The sketches of the tokens `numbers` that `sketches` has.
std::vector<std::byte> BytesOf(const KeySketches& sketches, PositionRange numbers) {
  std::vector<kernels::SketchRun> runs;
  sketches.AppendRun(numbers, &runs);
  std::vector<std::byte> bytes;
  for (const kernels::SketchRun& run : runs) {
    const size_t size = run.num_keys * kernels::KeySketchBytes(kHeadDim);
    bytes.insert(bytes.end(), run.sketches, run.sketches + size);
  }
  return bytes;
}

class KeySketchesTest : public testing::Test {
 protected:
  KeySketchesTest() : keys_(SomeKeys()), all_(kKeys * row_) {
    kernels::MakeKeySketches(keys_.data(), kKeys, kHeadDim, all_.data());
  }

  void AddInPieces(KeySketches* sketches) const {
    for (const PositionRange piece : {PositionRange{0, 3}, {3, 20}, {20, kKeys}}) {
      sketches->Add(keys_.data() + piece.begin * kHeadDim, piece.end - piece.begin);
    }
  }
  // Keys [begin, end).
  std::vector<std::byte> Expected(int begin, int end) const {
    return {all_.begin() + begin * row_, all_.begin() + end * row_};
  }

  const size_t row_ = kernels::KeySketchBytes(kHeadDim);
  const std::vector<float> keys_;
  std::vector<std::byte> all_;
};

TEST_F(KeySketchesTest, ARunIsWhatThereIsOfTheNumbers) {
  KeySketches sketches(kHeadDim, /*first=*/100);
  AddInPieces(&sketches);
  EXPECT_EQ(sketches.end(), 150);
  EXPECT_GE(sketches.size_bytes(), kKeys * row_);
  EXPECT_EQ(BytesOf(sketches, {103, 120}), Expected(3, 20));
  EXPECT_EQ(BytesOf(sketches, {90, 102}), Expected(0, 2));
  EXPECT_EQ(BytesOf(sketches, {140, 170}), Expected(40, 50));
  EXPECT_TRUE(BytesOf(sketches, {10, 100}).empty());
  EXPECT_TRUE(BytesOf(sketches, {150, 160}).empty());
}

TEST_F(KeySketchesTest, TheyStayWhereTheyArePlaced) {
  std::vector<std::byte> memory((kKeys + 1) * row_, std::byte{7});
  KeySketches sketches(kHeadDim, 0);
  sketches.Place(memory.data());
  AddInPieces(&sketches);
  EXPECT_EQ(sketches.size_bytes(), kKeys * row_);
  EXPECT_EQ(std::memcmp(memory.data(), all_.data(), all_.size()), 0);
  EXPECT_TRUE(std::all_of(memory.begin() + kKeys * row_, memory.end(),
                          [](std::byte b) { return b == std::byte{7}; }));
  const KeySketches copy = sketches;
  EXPECT_EQ(BytesOf(copy, {20, 30}), Expected(20, 30));
}

TEST_F(KeySketchesTest, WithoutAPlaceTheyHaveMemoryOfTheirOwn) {
  KeySketches sketches(kHeadDim, 0);
  sketches.Place(nullptr);
  AddInPieces(&sketches);
  EXPECT_EQ(BytesOf(sketches, {0, kKeys}), all_);
}

}  // namespace
}  // namespace skv::policy
