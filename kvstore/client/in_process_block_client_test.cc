// What the contract test does not ask of all implementations.

#include "kvstore/client/in_process_block_client.h"

#include <fstream>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/client/testing/test_chain.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::HasSubstr;
using Outcome = Creation::Outcome;

std::unique_ptr<BlockClient> CreateClient() {
  return CreateInProcessBlockClient({.capacity_bytes = 1 << 20}).value();
}

TEST(InProcessBlockClientTest, ADamagedBlockIsForgottenAndMayBeWrittenAnew) {
  const auto client = CreateClient();
  const TestChain chain = MakeChain(1, 2);
  *BytesOf(Store(*client, chain)[0].block.blocks()[0]) ^= std::byte{1};
  EXPECT_TRUE(client->Get(chain.keys, Soon())->empty());
  EXPECT_EQ(Store(*client, chain).size(), 2u);
  EXPECT_EQ(client->Get(chain.keys, Soon())->size(), 2u);
  EXPECT_EQ(client->gauges().num_corrupt_blocks, 1u);
}

TEST(InProcessBlockClientTest, ABlockOfAnotherClientBecomesPrivate) {
  const auto writer = CreateClient(), other = CreateClient();
  const TestChain chain = MakeChain(1, 1);
  const auto sealed = other->Seal(Write(*writer, chain), true, Soon());
  ASSERT_OK(sealed[0]);
  EXPECT_EQ(sealed[0]->visibility, SealedBlock::Visibility::kPrivate);
  EXPECT_TRUE(IsWhole(sealed[0]->block.blocks()[0], chain.sentences[0]));
  EXPECT_TRUE(other->Get(chain.keys, Soon())->empty());
  EXPECT_TRUE(writer->Get(chain.keys, Soon())->empty());
}

TEST(InProcessBlockClientTest, DeadlinesDoNotMatter) {
  const auto client = CreateClient();
  const TestChain chain = MakeChain(1, 1);
  EXPECT_EQ(client->Create(chain.sentences, TimePoint::min())[0]->outcome, Outcome::kCreated);
  EXPECT_OK(client->Get(chain.keys, TimePoint::min()));
}

int64_t AnonymousBytes() {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    int64_t kibibytes = 0;
    if (word == "RssAnon:" && file >> kibibytes) return kibibytes << 10;
  }
  return -1;
}

// A worker makes one whenever the host's store is lost, and drops it when that is back.
TEST(InProcessBlockClientTest, MemoryFollowsWhatIsStored) {
  constexpr uint64_t kCapacity = uint64_t{1} << 31;  // tables for half a million blocks
  constexpr int64_t kFew = 4 << 20;
  const int64_t before = AnonymousBytes();
  ASSERT_GT(before, 0);
  for (int i = 0; i < 8; ++i) {
    const auto client = CreateInProcessBlockClient({.capacity_bytes = kCapacity}).value();
    EXPECT_EQ(Store(*client, MakeChain(1, 8)).size(), 8u);
    EXPECT_LT(AnonymousBytes() - before, kFew) << i;
  }
  EXPECT_LT(AnonymousBytes() - before, kFew);
}

TEST(InProcessBlockClientTest, ACapacityThatCannotBeIsRefused) {
  EXPECT_THAT(CreateInProcessBlockClient({.capacity_bytes = 63}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("capacity_bytes is 0")));
  EXPECT_THAT(CreateInProcessBlockClient({.capacity_bytes = UINT64_MAX}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("capacity_bytes is")));
}

}  // namespace
}  // namespace skv::kvstore
