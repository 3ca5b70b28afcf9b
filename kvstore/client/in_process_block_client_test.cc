// What the contract test does not ask of all implementations.

#include "kvstore/client/in_process_block_client.h"

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

TEST(InProcessBlockClientTest, ACapacityThatCannotBeIsRefused) {
  EXPECT_THAT(CreateInProcessBlockClient({.capacity_bytes = 63}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("capacity_bytes is 0")));
  EXPECT_THAT(CreateInProcessBlockClient({.capacity_bytes = UINT64_MAX}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("capacity_bytes is")));
}

}  // namespace
}  // namespace skv::kvstore
