#include "worker/engine/sampling_params.h"

#include <limits>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::engine {
namespace {

using testing::HasSubstr;

constexpr int kVocabSize = 100;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kMinInt = std::numeric_limits<int>::min();

TEST(SamplingParamsTest, AcceptsDefaultsAndTheEndsOfEachRange) {
  EXPECT_OK(SamplingParams().Validate(kVocabSize));
  const SamplingParams lowest{.temperature = 0,
                              .top_p = std::numeric_limits<float>::min(),
                              .min_p = 0,
                              .top_k = -1,
                              .repetition_penalty = std::numeric_limits<float>::min(),
                              .presence_penalty = -2,
                              .frequency_penalty = -2,
                              .logit_bias = {{0, -100.0f}},
                              .stop_token_ids = {0}};
  EXPECT_OK(lowest.Validate(kVocabSize));
  const SamplingParams highest{.temperature = 100,
                               .top_p = 1,
                               .min_p = 1,
                               .top_k = kVocabSize,
                               .repetition_penalty = 100,
                               .presence_penalty = 2,
                               .frequency_penalty = 2,
                               .logit_bias = {{98, 0.0f}, {99, 100.0f}},
                               .logprobs = true,
                               .top_logprobs = 20,
                               .stop_token_ids = {99, 1}};
  EXPECT_OK(highest.Validate(kVocabSize));
}

// 1e400 is an infinity and 2^31 a negative int by the time they are here; 2^63 as a float is large.
TEST(SamplingParamsTest, RefusesEachFieldOutsideItsRange) {
  const struct {
    const char* message;
    SamplingParams params;
  } kCases[] = {
      {"temperature is -0.1, expected 0 to 100", {.temperature = -0.1f}},
      {"temperature is 100.5, expected 0 to 100", {.temperature = 100.5f}},
      {"temperature is nan", {.temperature = kNan}},
      {"temperature is inf", {.temperature = kInfinity}},
      {"temperature is 9.22337e+18", {.temperature = 0x1p63f}},
      {"top_p is 0, expected above 0, at most 1", {.top_p = 0}},
      {"top_p is 1.5, expected above 0, at most 1", {.top_p = 1.5f}},
      {"top_p is nan", {.top_p = kNan}},
      {"top_p is -inf", {.top_p = -kInfinity}},
      {"min_p is -1, expected 0 to 1", {.min_p = -1}},
      {"min_p is 2, expected 0 to 1", {.min_p = 2}},
      {"min_p is nan", {.min_p = kNan}},
      {"top_k is -2, expected -1 to 100", {.top_k = -2}},
      {"top_k is 101, expected -1 to 100", {.top_k = 101}},
      {"top_k is -2147483648", {.top_k = kMinInt}},
      {"top_k is 2147483647", {.top_k = std::numeric_limits<int>::max()}},
      {"repetition_penalty is 0, expected above 0, at most 100", {.repetition_penalty = 0}},
      {"repetition_penalty is 101", {.repetition_penalty = 101}},
      {"repetition_penalty is nan", {.repetition_penalty = kNan}},
      {"repetition_penalty is inf", {.repetition_penalty = kInfinity}},
      {"presence_penalty is -2.5, expected -2 to 2", {.presence_penalty = -2.5f}},
      {"presence_penalty is nan", {.presence_penalty = kNan}},
      {"frequency_penalty is 2.5, expected -2 to 2", {.frequency_penalty = 2.5f}},
      {"frequency_penalty is nan", {.frequency_penalty = kNan}},
      {"frequency_penalty is -inf", {.frequency_penalty = -kInfinity}},
      {"logit_bias of token 5 is 101, expected -100 to 100", {.logit_bias = {{5, 101.0f}}}},
      {"logit_bias of token 5 is nan", {.logit_bias = {{5, kNan}}}},
      {"logit_bias names token 100, expected 0 to 99", {.logit_bias = {{100, 1.0f}}}},
      {"logit_bias names token -1, expected 0 to 99", {.logit_bias = {{-1, 1.0f}}}},
      {"logit_bias names token 3 after 3", {.logit_bias = {{3, 1.0f}, {3, 2.0f}}}},
      {"logit_bias has 1025 entries, expected at most 1024",
       {.logit_bias = std::vector<std::pair<TokenId, float>>(1025)}},
      {"top_logprobs is 21, expected 0 to 20", {.logprobs = true, .top_logprobs = 21}},
      {"top_logprobs is -1, expected 0 to 20", {.logprobs = true, .top_logprobs = -1}},
      {"top_logprobs is 3 without logprobs", {.top_logprobs = 3}},
      {"stop_token_ids names token 100, expected 0 to 99", {.stop_token_ids = {100}}},
      {"stop_token_ids names token -2147483648", {.stop_token_ids = {kMinInt}}},
      {"stop_token_ids has 257 entries, expected at most 256",
       {.stop_token_ids = std::vector<TokenId>(257)}},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(c.params.Validate(kVocabSize),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
}

}  // namespace
}  // namespace skv::engine
