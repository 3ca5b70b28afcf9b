#include "common/block_key.h"

#include <set>

#include "absl/hash/hash_testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv {
namespace {

using testing::ElementsAre;

constexpr RootFields kFields = {.tenant_salt = "acme",
                                .model_name = "llama",
                                .model_revision = "r7",
                                .segmenter_id = "sentence 1"};
constexpr LayoutFields kLayout = {.weights_fingerprint = "0123456789abcdef",
                                  .adapter = "",
                                  .kv_type = "bf16",
                                  .key_rotation = "rotated",
                                  .rope = "theta 10000",
                                  .numerics_id = "cpu 7",
                                  .group_size = 2,
                                  .prefill_kind = "exact"};

std::vector<std::string> Hexes(const std::vector<PrefixKey>& keys) {
  std::vector<std::string> hexes;
  for (const PrefixKey& key : keys) hexes.push_back(ToHex(key));
  return hexes;
}

// Computed from the three formulas of the header with Python's hashlib. Stores on disk and other
// hosts know blocks by these names: a change of them needs a new number behind "skv root" etc.
TEST(BlockKeyTest, NamesStayWhatTheyAre) {
  const PrefixKey root = RootKey(kFields);
  const TokenId tokens[] = {1, 2, 3, 4, 5, 6, 7};
  const int ends[] = {3, 7};
  EXPECT_EQ(ToHex(root), "49487992d49d44eaf85593f0a0fcece3");
  EXPECT_THAT(Hexes(PrefixKeys(root, tokens, ends)),
              ElementsAre("6aa897076f9919afb41263fce5780740", "355b5620c3ff1dc0c94768f901674943"));
  EXPECT_EQ(ToHex(MakeLayoutId(kLayout)), "ae7d84f130190e8b1e6bfaccdeb09409");
}

TEST(BlockKeyTest, AKeyStandsForAllTokensBeforeItAndNoneAfter) {
  const PrefixKey root = RootKey(kFields);
  const TokenId tokens[] = {1, 2, 3, 4, 5, 6, 7};
  const TokenId other_start[] = {9, 2, 3, 4, 5, 6, 7};
  const int ends[] = {3, 5};
  const auto keys = PrefixKeys(root, tokens, ends);
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[1], ChildKey(ChildKey(root, {tokens, 3}), {tokens + 3, 2}));
  EXPECT_EQ(PrefixKeys(root, {tokens, 5}, ends), keys);
  EXPECT_NE(PrefixKeys(root, other_start, ends)[1], keys[1]);
  EXPECT_TRUE(PrefixKeys(root, tokens, {}).empty());
}

TEST(BlockKeyTest, NoTwoInputsMeetByConcatenation) {
  std::set<PrefixKey> roots;
  const RootFields kRoots[] = {{"ab", "c", "", ""}, {"a", "bc", "", ""}, {"abc", "", "", ""},
                               {"", "abc", "", ""}, {"", "", "abc", ""}, {"", "", "", "abc"},
                               {"", "", "", ""},    {"", "", "ab", "c"}};
  for (const RootFields& fields : kRoots) EXPECT_TRUE(roots.insert(RootKey(fields)).second);

  const PrefixKey root = RootKey(kFields);
  const TokenId tokens[] = {1, 2, 3};
  const PrefixKey whole = ChildKey(root, tokens);
  EXPECT_NE(ChildKey(ChildKey(root, {tokens, 1}), {tokens + 1, 2}), whole);
  EXPECT_NE(ChildKey(ChildKey(root, {tokens, 2}), {tokens + 2, 1}), whole);
  EXPECT_NE(ChildKey(root, {}), root);
}

TEST(BlockKeyTest, EveryFieldOfALayoutCounts) {
  std::set<LayoutId> ids = {MakeLayoutId(kLayout)};
  for (std::string_view LayoutFields::*field :
       {&LayoutFields::weights_fingerprint, &LayoutFields::adapter, &LayoutFields::kv_type,
        &LayoutFields::key_rotation, &LayoutFields::rope, &LayoutFields::numerics_id,
        &LayoutFields::prefill_kind}) {
    LayoutFields changed = kLayout;
    changed.*field = "other";
    EXPECT_TRUE(ids.insert(MakeLayoutId(changed)).second);
  }
  LayoutFields changed = kLayout;
  changed.group_size = 4;
  EXPECT_TRUE(ids.insert(MakeLayoutId(changed)).second);
}

TEST(BlockKeyTest, EqualNamesHashAlikeAndEveryPartCounts) {
  const PrefixKey root = RootKey(kFields);
  const TokenId tokens[] = {1};
  const LayoutId layout = MakeLayoutId(kLayout);
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly(
      {BlockId{root, layout, 0}, BlockId{root, layout, 1}, BlockId{ChildKey(root, tokens), layout},
       BlockId{root, LayoutId(), 0}}));
  EXPECT_LT((BlockId{root, layout, 0}), (BlockId{root, layout, 1}));
}

}  // namespace
}  // namespace skv
