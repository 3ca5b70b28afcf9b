#include "router/admission/validate.h"

#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::router {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const ModelLimits kLimits{.context_length = 1000, .vocab_size = 500, .max_prompt_bytes = 4000};
constexpr int64_t k2To31 = int64_t{1} << 31;
constexpr int64_t k2To63 = std::numeric_limits<int64_t>::min();  // as it arrives

Request ValidRequest() {
  Request request;
  request.prompt = TextPrompt{"hello"};
  return request;
}

TEST(ValidateRequestTest, APlainRequestPasses) {
  EXPECT_OK(ValidateRequest(ValidRequest(), kLimits));
}

TEST(ValidateRequestTest, TheEndsOfEveryRangePass) {
  Request request = ValidRequest();
  request.temperature = 0;
  request.top_p = 1;
  request.top_k = 500;
  request.min_p = 1;
  request.repetition_penalty = 100;
  request.presence_penalty = -2;
  request.frequency_penalty = 2;
  request.max_tokens = 1000;
  request.n = 128;
  request.priority = -100;
  request.logprobs = true;
  request.top_logprobs = 20;
  request.explain = true;
  request.explain_top = 32;
  request.stop.assign(64, std::string(256, 'x'));
  request.stop_token_ids.assign(256, 499);
  request.logit_bias = {{0, -100.0}, {499, 100.0}};
  request.cache_salt = std::string(128, 's');
  EXPECT_OK(ValidateRequest(request, kLimits));
}

TEST(ValidateRequestTest, EveryRoleOfAChatPasses) {
  Request request = ValidRequest();
  request.prompt = ChatPrompt{{{"system", "s"}, {"user", "u"}, {"assistant", "a"}, {"tool", "t"}}};
  EXPECT_OK(ValidateRequest(request, kLimits));
}

TEST(ValidateRequestTest, NumbersOutOfRangeAreRefusedByName) {
  using Field = std::optional<int64_t> Request::*;
  const std::pair<const char*, Field> kFields[] = {{"max_tokens", &Request::max_tokens},
                                                   {"top_k", &Request::top_k},
                                                   {"top_logprobs", &Request::top_logprobs},
                                                   {"n", &Request::n},
                                                   {"priority", &Request::priority}};
  for (const auto& [name, field] : kFields) {
    for (const int64_t value : {int64_t{-101}, k2To31, k2To63, int64_t{16384}}) {
      SCOPED_TRACE(testing::Message() << name << " = " << value);
      Request request = ValidRequest();
      request.*field = value;
      EXPECT_THAT(ValidateRequest(request, kLimits),
                  StatusIs(absl::StatusCode::kInvalidArgument,
                           AllOf(StartsWith(name), HasSubstr(std::to_string(value)),
                                 HasSubstr("expected"))));
    }
  }
}

TEST(ValidateRequestTest, RealsOutOfRangeAreRefusedByName) {
  using Field = std::optional<double> Request::*;
  const std::pair<const char*, Field> kFields[] = {
      {"temperature", &Request::temperature},
      {"top_p", &Request::top_p},
      {"min_p", &Request::min_p},
      {"repetition_penalty", &Request::repetition_penalty},
      {"presence_penalty", &Request::presence_penalty},
      {"frequency_penalty", &Request::frequency_penalty}};
  const double k1e400 = std::strtod("1e400", nullptr);
  for (const auto& [name, field] : kFields) {
    for (const double value :
         {-3.0, 2147483648.0, 9223372036854775808.0, k1e400, -k1e400, std::nan("")}) {
      SCOPED_TRACE(testing::Message() << name << " = " << value);
      Request request = ValidRequest();
      request.*field = value;
      EXPECT_THAT(ValidateRequest(request, kLimits),
                  StatusIs(absl::StatusCode::kInvalidArgument,
                           AllOf(StartsWith(name), HasSubstr("expected"))));
    }
  }
}

TEST(ValidateRequestTest, EveryOtherBadInputIsRefusedByName) {
  const struct {
    const char* why;
    std::function<void(Request*)> damage;
    const char* message;
  } kCases[] = {
      {"no prompt", [](Request* r) { r->prompt = {}; }, "prompt: got none"},
      {"empty text", [](Request* r) { r->prompt = TextPrompt{}; }, "text: got an empty prompt"},
      {"text that is not UTF-8", [](Request* r) { r->prompt = TextPrompt{"ab\xff"}; },
       "text: byte 2"},
      {"10 MB text", [](Request* r) { r->prompt = TextPrompt{std::string(10 << 20, 'x')}; },
       "text: got 10485760 bytes, expected at most 4000"},
      {"special tokens of a chat",
       [](Request* r) {
         r->prompt = ChatPrompt{{{"user", "x"}}};
         r->parse_special = true;
       },
       "parse_special: got true without text"},
      {"special tokens of token ids",
       [](Request* r) {
         r->prompt = TokenPrompt{{5}};
         r->parse_special = true;
       },
       "parse_special: got true without text"},
      {"empty chat", [](Request* r) { r->prompt = ChatPrompt{}; }, "chat.messages: got none"},
      {"unknown role",
       [](Request* r) {
         r->prompt = ChatPrompt{{{"root", "x"}}};
       },
       "chat.messages[0].role: got 4 bytes that are not one of \"system\", \"user\", "
       "\"assistant\", "
       "\"tool\""},
      {"chat that is not UTF-8",
       [](Request* r) {
         r->prompt = ChatPrompt{{{"user", "ok"}, {"user", "\xc3"}}};
       },
       "chat.messages[1].content: byte 0"},
      {"10 MB chat",
       [](Request* r) {
         r->prompt = ChatPrompt{{{"user", std::string(10 << 20, 'x')}}};
       },
       "chat.messages: got 10485760 bytes"},
      {"a million empty messages",
       [](Request* r) {
         r->prompt = ChatPrompt{std::vector<ChatMessage>(1'000'000, {"user", ""})};
       },
       "chat.messages: got 1000000, expected at most 4096"},
      {"more tokens than the context, the first of them wrong",
       [](Request* r) { r->prompt = TokenPrompt{std::vector<int64_t>(1001, -1)}; },
       "token_ids: got 1001 tokens, expected at most 1000"},
      {"no token", [](Request* r) { r->prompt = TokenPrompt{}; }, "token_ids: got none"},
      {"negative token",
       [](Request* r) {
         r->prompt = TokenPrompt{{1, -1}};
       },
       "token_ids[1]: got -1, expected 0 to 499"},
      {"token over the vocabulary", [](Request* r) { r->prompt = TokenPrompt{{500}}; },
       "token_ids[0]: got 500"},
      {"token 2^31", [](Request* r) { r->prompt = TokenPrompt{{k2To31}}; },
       "token_ids[0]: got 2147483648"},
      {"token 2^63", [](Request* r) { r->prompt = TokenPrompt{{k2To63}}; },
       "token_ids[0]: got -9223372036854775808"},
      {"zero max_tokens", [](Request* r) { r->max_tokens = 0; }, "max_tokens: got 0"},
      {"zero samples", [](Request* r) { r->n = 0; }, "n: got 0"},
      {"zero top_p", [](Request* r) { r->top_p = 0; }, "top_p: got 0"},
      {"top_p that is 0 for a worker", [](Request* r) { r->top_p = 1e-50; }, "top_p: got 1e-50"},
      {"repetition_penalty that is 0 for a worker",
       [](Request* r) { r->repetition_penalty = 1e-50; }, "repetition_penalty: got 1e-50"},
      {"explain_top alone", [](Request* r) { r->explain_top = 5; }, "explain_top: got 5"},
      {"zero explain_top",
       [](Request* r) {
         r->explain = true;
         r->explain_top = 0;
       },
       "explain_top: got 0, expected 1 to 32"},
      {"top_logprobs alone", [](Request* r) { r->top_logprobs = 5; }, "top_logprobs: got 5"},
      {"1,000 stop strings", [](Request* r) { r->stop.assign(1000, "x"); }, "stop: got 1000"},
      {"empty stop string",
       [](Request* r) {
         r->stop = {"a", ""};
       },
       "stop[1]: got 0 bytes"},
      {"long stop string", [](Request* r) { r->stop = {std::string(257, 'x')}; },
       "stop[0]: got 257 bytes"},
      {"stop string that is not UTF-8", [](Request* r) { r->stop = {"\x80"}; }, "stop[0]: byte 0"},
      {"too many stop tokens", [](Request* r) { r->stop_token_ids.assign(257, 1); },
       "stop_token_ids: got 257"},
      {"stop token out of range", [](Request* r) { r->stop_token_ids = {-1}; },
       "stop_token_ids[0]: got -1"},
      {"too many biases",
       [](Request* r) {
         for (int i = 0; i < 1025; ++i) r->logit_bias[i] = 1;
       },
       "logit_bias: got 1025"},
      {"bias of no token", [](Request* r) { r->logit_bias[500] = 1; }, "logit_bias key: got 500"},
      {"NaN bias", [](Request* r) { r->logit_bias[7] = std::nan(""); }, "logit_bias[7]: got nan"},
      {"infinite bias", [](Request* r) { r->logit_bias[7] = INFINITY; }, "logit_bias[7]: got inf"},
      {"unknown KV policy", [](Request* r) { r->kv_policy.name = "fulll"; },
       "kv_policy.name: got \"fulll\""},
      {"min_recall of nothing", [](Request* r) { r->min_recall = 0; },
       "min_recall: got 0, expected above 0, at most 1"},
      {"min_recall above all", [](Request* r) { r->min_recall = 1.5; }, "min_recall: got 1.5"},
      {"NaN min_recall", [](Request* r) { r->min_recall = std::nan(""); }, "min_recall: got nan"},
      {"empty cache_salt", [](Request* r) { r->cache_salt = ""; },
       "cache_salt: got 0 bytes, expected 1 to 128"},
      {"long cache_salt", [](Request* r) { r->cache_salt = std::string(129, 's'); },
       "cache_salt: got 129 bytes"},
      {"cache_salt that is not UTF-8", [](Request* r) { r->cache_salt = "s\xff"; },
       "cache_salt: byte 1"},
      {"request id with a newline", [](Request* r) { r->request_id = "a\nb"; }, "request_id"},
      {"long request id", [](Request* r) { r->request_id = std::string(129, 'a'); }, "request_id"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    Request request = ValidRequest();
    c.damage(&request);
    EXPECT_THAT(ValidateRequest(request, kLimits),
                StatusIs(absl::StatusCode::kInvalidArgument, StartsWith(c.message)));
  }
}

TEST(ValidateRequestTest, AFieldThatIsNotServedIsUnimplementedByName) {
  Request request = ValidRequest();
  request.unserved_field = "adapter";
  EXPECT_THAT(ValidateRequest(request, kLimits),
              StatusIs(absl::StatusCode::kUnimplemented, StartsWith("adapter: ")));
}

TEST(BuildGroupRequestTest, MinRecallIsHandedOn) {
  Request request = ValidRequest();
  EXPECT_EQ(BuildGroupRequest(request, kLimits, {1}, 0)->min_recall, 0);
  request.min_recall = 1;
  EXPECT_EQ(BuildGroupRequest(request, kLimits, {1}, 0)->min_recall, 1);
}

TEST(BuildGroupRequestTest, PromptAndMaxTokensShareTheContext) {
  Request request = ValidRequest();
  EXPECT_EQ(BuildGroupRequest(request, kLimits, {1, 2, 3}, 0)->max_tokens, 997);
  request.max_tokens = 997;
  EXPECT_OK(BuildGroupRequest(request, kLimits, {1, 2, 3}, 0));
  request.max_tokens = 998;
  EXPECT_THAT(BuildGroupRequest(request, kLimits, {1, 2, 3}, 0),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("3 tokens"), HasSubstr("998"), HasSubstr("1000"))));
  request.max_tokens.reset();
  EXPECT_THAT(BuildGroupRequest(request, kLimits, std::vector<TokenId>(1000, 1), 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1000 tokens")));
  EXPECT_THAT(BuildGroupRequest(request, kLimits, {}, 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no token")));
}

TEST(BuildGroupRequestTest, TheFirstSampleUsesTheSeedAndEachHasItsOwn) {
  Request request = ValidRequest();
  request.n = 128;
  const auto drawn = BuildGroupRequest(request, kLimits, {1}, 77)->seeds;
  EXPECT_EQ(drawn[0], 77u);
  EXPECT_EQ(std::set<uint64_t>(drawn.begin(), drawn.end()).size(), 128u);
  request.seed = 77;
  EXPECT_EQ(BuildGroupRequest(request, kLimits, {1}, 5)->seeds, drawn);
}

TEST(BuildGroupRequestTest, CarriesEveryField) {
  Request request = ValidRequest();
  request.temperature = 0.5;
  request.top_k = 7;
  request.logit_bias = {{9, 1.5}, {3, -2.0}};
  request.stop_token_ids = {4};
  request.ignore_eos = true;
  request.priority = 5;
  request.kv_policy = {"sentencekv", 64, 3};
  request.explain = true;
  request.cache_salt = "tenant 7";
  request.traceparent = "00-ab";
  ModelLimits limits = kLimits;
  limits.kv_policies.policies.push_back({"sentencekv", 1024, 0});
  const GroupRequest built = BuildGroupRequest(request, limits, {1}, 0).value();
  EXPECT_EQ(built.sampling.temperature, 0.5);
  EXPECT_EQ(built.sampling.top_k, 7);
  EXPECT_EQ(built.sampling.top_p, 1);
  EXPECT_EQ(built.sampling.logit_bias,
            (std::vector<std::pair<TokenId, double>>{{3, -2.0}, {9, 1.5}}));
  EXPECT_EQ(built.stop_token_ids, std::vector<TokenId>{4});
  EXPECT_TRUE(built.ignore_eos);
  EXPECT_EQ(built.priority, 5);
  EXPECT_EQ(built.kv_policy, (KvPolicy{"sentencekv", 64, 3}));
  EXPECT_EQ(built.cache_salt, "tenant 7");
  EXPECT_EQ(built.traceparent, "00-ab");
  EXPECT_EQ(built.NumTokens(), 1 + 999);
  EXPECT_EQ(built.explain_top, 5);
  request.explain_top = 7;
  EXPECT_EQ(BuildGroupRequest(request, limits, {1}, 0)->explain_top, 7);
  EXPECT_EQ(BuildGroupRequest(ValidRequest(), limits, {1}, 0)->explain_top, 0);
  EXPECT_EQ(BuildGroupRequest(ValidRequest(), limits, {1}, 0)->cache_salt, "");
}

}  // namespace
}  // namespace skv::router
