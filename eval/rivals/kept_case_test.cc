#include "eval/rivals/kept_case.h"

#include <cmath>
#include <string>

#include "absl/strings/str_replace.h"
#include "common/status.h"
#include "common/testing/status_matchers.h"

namespace skv::eval {
namespace {

using testing::HasSubstr;

constexpr std::string_view kHeader =
    R"({"policy": "sentencekv", "budget": 64, "semantic_factor": 2.5, "layers": 1, "kv_heads": 2,)"
    R"( "group": 3, "head_dim": 2, "prompt": 4, "tokens": 5, "max_step": 3, "seed": 9,)"
    R"( "fork": true, "sentences": [[0, 2, 2], [2, 4, 3]]})";

std::string Floats(int count, float value) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return bytes;
}

std::string Case(std::string_view header, float key = 1.5f) {
  return std::string(header) + "\n" + Floats(2 * 5 * 2, key) + Floats(2 * 5 * 3 * 2, 0.1f);
}

absl::Status ErrorOf(const std::string& bytes) {
  std::string_view rest = bytes;
  return TakeCase(&rest).status();
}

TEST(KeptCaseTest, CasesFollowEachOther) {
  const std::string bytes = Case(kHeader) + Case(kHeader, 2.0f);
  std::string_view rest = bytes;
  ASSERT_OK_AND_ASSIGN(const KeptCase first, TakeCase(&rest));
  EXPECT_EQ(first.params, (policy::PolicyParams{"sentencekv", 64, 2.5}));
  EXPECT_EQ(first.sequence.shape.num_kv_heads, 2);
  EXPECT_EQ(first.sequence.shape.group_size, 3);
  EXPECT_EQ(first.sequence.shape.num_prompt_tokens, 4);
  EXPECT_EQ(first.sequence.num_tokens, 5);
  EXPECT_EQ(first.max_step, 3);
  EXPECT_EQ(first.seed, 9u);
  EXPECT_TRUE(first.fork);
  EXPECT_EQ(first.sequence.sentences, (std::vector<policy::Sentence>{{0, 2, 2}, {2, 4, 3}}));
  EXPECT_EQ(first.sequence.keys, std::vector<float>(20, 1.5f));
  EXPECT_EQ(first.sequence.queries, std::vector<float>(60, 0.1f));
  ASSERT_OK_AND_ASSIGN(const KeptCase second, TakeCase(&rest));
  EXPECT_EQ(second.sequence.keys, std::vector<float>(20, 2.0f));
  EXPECT_TRUE(rest.empty());
}

TEST(KeptCaseTest, WhatIsWrongIsNamed) {
  const std::pair<const char*, std::pair<const char*, const char*>> wrongs[] = {
      {"\"sentencekv\"", {"\"sentence\"", "\"sentence\" is unknown"}},
      {"\"sentencekv\"", {"5", "policy: 5, expected a string"}},
      {"\"budget\": 64", {"\"budget\": 15", "budget: 15, expected an integer of 16 to"}},
      {"2.5", {"0.5", "semantic_factor: 0.5"}},
      {"2.5", {"true", "semantic_factor: true, expected a number"}},
      {"\"layers\": 1", {"\"layers\": 1.5", "layers: 1.5, expected an integer of 1 to"}},
      {"\"head_dim\": 2, ", {"", "head_dim: null, expected an integer"}},
      {"\"tokens\": 5", {"\"tokens\": 3", "tokens: 3, expected an integer of 4 to"}},
      {"\"fork\": true", {"\"fork\": 1", "fork: 1, expected true or false"}},
      {"[[0, 2, 2], [2, 4, 3]]", {"{}", "sentences: {}, expected a list"}},
      {"[2, 4, 3]", {"[3, 4, 3]", "sentences[1]: [3,4,3], expected [2, end, known_at]"}},
      {"[2, 4, 3]", {"[2, 4, 2]", "sentences[1]: [2,4,2]"}},
      {"{\"policy\"", {"[\"policy\"", "a line that is a JSON object"}},
  };
  for (const auto& [from, wrong] : wrongs) {
    const std::string header = absl::StrReplaceAll(Sv(kHeader), {{from, wrong.first}});
    ASSERT_NE(header, kHeader);
    EXPECT_THAT(ErrorOf(Case(header)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(wrong.second)));
  }
}

TEST(KeptCaseTest, NumbersThatNoCacheHoldsAreRefused) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(ErrorOf(Case(kHeader, 0.1f)),
              StatusIs(kInvalid, HasSubstr("expected a value of bf16")));
  EXPECT_THAT(ErrorOf(Case(kHeader, std::nanf(""))),
              StatusIs(kInvalid, HasSubstr("keys[0]: \"nan\", expected a finite number")));
  EXPECT_THAT(ErrorOf(Case(kHeader).substr(0, kHeader.size() + 80)),
              StatusIs(kInvalid, HasSubstr("keys: 79, expected 80 bytes")));
  EXPECT_THAT(ErrorOf(std::string(kHeader)), StatusIs(kInvalid, HasSubstr("header")));
}

}  // namespace
}  // namespace skv::eval
