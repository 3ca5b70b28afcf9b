#include "router/admission/served_model.h"

#include <limits>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/testing/fake_group_client.h"

namespace skv::router {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ServedModelTest, RefusesImpossibleSizes) {
  const struct {
    const char* why;
    std::function<void(ModelInfo*)> damage;
  } kCases[] = {{"no name", [](ModelInfo* info) { info->name.clear(); }},
                {"no context", [](ModelInfo* info) { info->context_length = 0; }},
                {"negative context", [](ModelInfo* info) { info->context_length = -5; }},
                {"absurd context", [](ModelInfo* info) { info->context_length = 1LL << 40; }},
                {"no KV policy", [](ModelInfo* info) { info->kv_policies.policies.clear(); }},
                {"vocabulary of another size", [](ModelInfo* info) { --info->vocab_size; }}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    ModelInfo info = TinyModel();
    c.damage(&info);
    EXPECT_THAT(ServedModel::Create(std::move(info)).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model info")));
  }
}

TEST(ServedModelTest, LongTextsAreRefusedUnreadAlsoWhereSomeBytesHaveNoToken) {
  for (const bool lacks_a_byte : {false, true}) {
    SCOPED_TRACE(lacks_a_byte);
    ModelInfo info = TinyModel();
    if (lacks_a_byte) info.tokenizer.tokens[0xff] = "longer";
    ASSERT_OK_AND_ASSIGN(const auto model, ServedModel::Create(std::move(info)));
    const size_t longest = std::string_view("<|endoftext|>").size();
    EXPECT_EQ(model->limits().max_prompt_bytes, 1000 * longest);
  }
}

TEST(ServedModelTest, EncodesEachKindOfPrompt) {
  ASSERT_OK_AND_ASSIGN(const auto model, ServedModel::Create(TinyModel()));
  EXPECT_THAT(model->Encode(TextPrompt{"ab"}).value(), ElementsAre('a', 'b'));
  EXPECT_THAT(model->Encode(TokenPrompt{{5, 6}}).value(), ElementsAre(5, 6));
  const auto chat = model->Encode(ChatPrompt{{{"user", "a"}}}).value();
  EXPECT_EQ(std::ranges::count(chat, text::kTinyImStart), 2);
  EXPECT_EQ(std::ranges::count(chat, text::kTinyImEnd), 1);
  const auto tool = model->Encode(ChatPrompt{{{"user", "a"}, {"tool", "b"}}}).value();
  EXPECT_EQ(std::ranges::count(tool, text::kTinyImEnd), 2);
}

TEST(ServedModelTest, SpecialTokensInTextAreReadOnlyWhenAskedFor) {
  ASSERT_OK_AND_ASSIGN(const auto model, ServedModel::Create(TinyModel()));
  EXPECT_THAT(model->Encode(TextPrompt{"<|im_end|>"}, true).value(), ElementsAre(text::kTinyImEnd));
  EXPECT_EQ(model->Encode(TextPrompt{"<|im_end|>"}, false).value().size(), 10u);
  const auto chat = model->Encode(ChatPrompt{{{"user", "<|im_end|>"}}}).value();
  EXPECT_EQ(std::ranges::count(chat, text::kTinyImEnd), 1);
}

TEST(ServedModelTest, AChatNeedsAKnownFormat) {
  ModelInfo info = TinyModel();
  info.tokenizer.chat_template = "{{ something else }}";
  ASSERT_OK_AND_ASSIGN(const auto model, ServedModel::Create(std::move(info)));
  EXPECT_THAT(model->Encode(ChatPrompt{{{"user", "a"}}}),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("send text or token_ids")));
  EXPECT_OK(model->Encode(TextPrompt{"a"}));
}

// Each byte is a token.
GroupRequest RequestFor(std::string_view text) {
  return {.prompt_ids = std::vector<TokenId>(text.begin(), text.end()),
          .kv_policy = {.name = "full"}};
}

TEST(ServedModelTest, APrefixHasAKeyForEachFinishedSentenceOfThePrompt) {
  ASSERT_OK_AND_ASSIGN(const auto model, ServedModel::Create(TinyModel()));
  const PrefixChain chain = model->PrefixOf(RequestFor("She went. He came. And the"));
  EXPECT_THAT(chain.ends, ElementsAre(10, 19));
  ASSERT_EQ(chain.keys.size(), 2u);
  const PrefixChain other = model->PrefixOf(RequestFor("She went. He sat. And the"));
  EXPECT_EQ(other.keys[0], chain.keys[0]);
  EXPECT_NE(other.keys[1], chain.keys[1]);
}

TEST(ServedModelTest, APrefixSaysWhatItsOwnRequestComputesInAnyCase) {
  constexpr int32_t kFewest = std::numeric_limits<int32_t>::min();
  const struct {
    std::vector<int32_t> computed_tokens;
    int max_cached_tokens;
  } kCases[] = {{{}, 18}, {{9}, 10}, {{-5}, 18}, {{kFewest}, 18}, {{1000}, -981}};
  for (const auto& c : kCases) {
    ModelInfo info = TinyModel();
    info.prefix_naming->computed_tokens = c.computed_tokens;
    ASSERT_OK_AND_ASSIGN(const auto model, ServedModel::Create(std::move(info)));
    EXPECT_EQ(model->PrefixOf(RequestFor("She went. He came. ")).max_cached_tokens,
              c.max_cached_tokens);
  }
}

TEST(ServedModelTest, TenantsWithDifferentSaltsHaveNoKeyInCommon) {
  ASSERT_OK_AND_ASSIGN(const auto model, ServedModel::Create(TinyModel()));
  GroupRequest request = RequestFor("She went. He came. And the");
  const PrefixChain without = model->PrefixOf(request);
  request.cache_salt = "a";
  EXPECT_NE(model->PrefixOf(request).keys[0], without.keys[0]);
}

TEST(ServedModelTest, WhatWorkersDoNotReuseHasNoPrefix) {
  GroupRequest request = RequestFor("She went. He came. And the");
  const struct {
    const char* why;
    std::function<void(ModelInfo*)> change;
  } kCases[] = {
      {"nothing", [](ModelInfo* info) { info->prefix_naming.reset(); }},
      {"not of this policy", [](ModelInfo* info) { info->prefix_naming->kv_policies = {"quest"}; }},
      {"other sentences", [](ModelInfo* info) { info->prefix_naming->segmenter_id = "newer"; }}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    ModelInfo info = TinyModel();
    c.change(&info);
    ASSERT_OK_AND_ASSIGN(const auto model, ServedModel::Create(std::move(info)));
    EXPECT_TRUE(model->PrefixOf(request).keys.empty());
  }
}

}  // namespace
}  // namespace skv::router
