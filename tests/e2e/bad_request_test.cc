// Requests that must be refused, through the real router: each is answered by name, and the next
// request is served as if nothing had been. docs/bad-input.md lists them.

#include <limits>

#include "absl/strings/str_cat.h"
#include "common/testing/status_matchers.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

using grpc::StatusCode;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t k2To31 = int64_t{1} << 31;
// 2^63 as a client sends it in a signed field, and -2^63.
constexpr int64_t k2To63 = std::numeric_limits<int64_t>::min();

class BadRequestTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto cluster = Cluster::Start({.tensor_parallel_size = 1});
    ASSERT_OK(cluster);
    cluster_ = *std::move(cluster);
  }
  static void TearDownTestSuite() { cluster_.reset(); }

  static void ExpectRefusal(const v1::GenerateRequest& request, StatusCode code,
                            const ::testing::Matcher<std::string>& message) {
    const grpc::Status status = eval::Call(cluster_->channel(), request, kPatience).status;
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), message);
    EXPECT_TRUE(cluster_->Serves()) << "after: " << status.error_message();
  }
  static void ExpectInvalid(const v1::GenerateRequest& request,
                            const ::testing::Matcher<std::string>& message) {
    ExpectRefusal(request, StatusCode::INVALID_ARGUMENT, message);
  }

  static v1::GenerateRequest Good() { return TextRequest("Hello", 4); }
  static v1::GenerateRequest WithTokenIds(const std::vector<int64_t>& ids) {
    v1::GenerateRequest request = Good();
    request.mutable_token_ids()->mutable_ids()->Add(ids.begin(), ids.end());
    return request;
  }

  static std::unique_ptr<Cluster> cluster_;
};

std::unique_ptr<Cluster> BadRequestTest::cluster_;

TEST_F(BadRequestTest, EmptyPromptOfEveryKind) {
  v1::GenerateRequest none = Good(), text = Good(), chat = Good();
  none.clear_prompt();
  text.set_text("");
  chat.mutable_chat();
  ExpectInvalid(none, AllOf(HasSubstr("prompt"), HasSubstr("got none")));
  ExpectInvalid(text, AllOf(HasSubstr("text"), HasSubstr("empty prompt")));
  ExpectInvalid(chat, AllOf(HasSubstr("chat.messages"), HasSubstr("got none")));
  ExpectInvalid(WithTokenIds({}), AllOf(HasSubstr("token_ids"), HasSubstr("got none")));
}

TEST_F(BadRequestTest, PromptOverTheContext) {
  ExpectInvalid(WithTokenIds(std::vector<int64_t>(70'000, 5)),
                AllOf(HasSubstr("got 70000 tokens"), HasSubstr("at most 65536")));
  v1::GenerateRequest together = WithTokenIds(std::vector<int64_t>(65'530, 5));
  together.set_max_tokens(7);
  ExpectInvalid(together,
                AllOf(HasSubstr("got 65530 tokens and max_tokens 7"), HasSubstr("at most 65536")));
}

TEST_F(BadRequestTest, TextThatIsNotUtf8) {
  v1::GenerateRequest text = Good(), chat = Good(), stop = Good();
  text.set_text("half a character: \xE2\x82");
  v1::ChatMessage* const message = chat.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("\xFF");
  stop.add_stop("\xC0\x80");
  ExpectInvalid(text, AllOf(HasSubstr("text"), HasSubstr("UTF-8")));
  ExpectInvalid(chat, AllOf(HasSubstr("chat.messages.content"), HasSubstr("UTF-8")));
  ExpectInvalid(stop, AllOf(HasSubstr("stop"), HasSubstr("UTF-8")));
}

TEST_F(BadRequestTest, TenMegabytes) {
  v1::GenerateRequest words = Good();
  std::string text;
  while (text.size() < 10'000'000) text += "many words ";
  words.set_text(text);
  ExpectInvalid(words, AllOf(HasSubstr("text: got 10000001 bytes"), HasSubstr("context of 65536")));
}

TEST_F(BadRequestTest, WithoutASpaceAndOverTheMessageLimit) {
  v1::GenerateRequest request = Good();
  request.set_text(std::string(17 << 20, 'a'));
  ExpectInvalid(request, AllOf(HasSubstr("request: got 1782"), HasSubstr("at most 16777216")));
  request.set_text(std::string(100'000'000, 'a'));
  ExpectRefusal(request, StatusCode::RESOURCE_EXHAUSTED, HasSubstr("message larger than max"));
}

TEST_F(BadRequestTest, LongestPromptWithoutASpaceIsServed) {
  v1::GenerateRequest request = Good();
  request.set_text(std::string(20'000, 'a'));
  EXPECT_TRUE(eval::Call(cluster_->channel(), request, kPatience).status.ok());
}

TEST_F(BadRequestTest, TokenIdsOutOfRange) {
  for (const int64_t id : {int64_t{-1}, int64_t{288}, k2To31, k2To63}) {
    ExpectInvalid(WithTokenIds({5, id}),
                  HasSubstr(absl::StrCat("token_ids[1]: got ", id, ", expected 0 to 287")));
    v1::GenerateRequest stop = Good();
    stop.add_stop_token_ids(id);
    ExpectInvalid(stop, HasSubstr(absl::StrCat("stop_token_ids[0]: got ", id)));
    v1::GenerateRequest bias = Good();
    (*bias.mutable_logit_bias())[id] = 1;
    ExpectInvalid(bias, HasSubstr(absl::StrCat("logit_bias key: got ", id)));
  }
}

TEST_F(BadRequestTest, WholeNumbersOutOfRange) {
  const google::protobuf::Reflection& reflection = *v1::GenerateRequest::GetReflection();
  for (const std::string field : {"max_tokens", "top_k", "top_logprobs", "n", "priority"}) {
    for (const int64_t value :
         {int64_t{-1000}, k2To31, k2To63, std::numeric_limits<int64_t>::max()}) {
      SCOPED_TRACE(absl::StrCat(field, " = ", value));
      v1::GenerateRequest request = Good();
      request.set_logprobs(true);
      reflection.SetInt64(&request, request.GetDescriptor()->FindFieldByName(field), value);
      ExpectInvalid(request, HasSubstr(absl::StrCat(field, ": got ", value, ", expected ")));
    }
  }
}

TEST_F(BadRequestTest, MoreOrFewerExplanationsThanAreServedAndWithoutExplain) {
  v1::GenerateRequest request = Good();
  request.set_explain_top(5);
  ExpectInvalid(request, HasSubstr("explain_top: got 5, expected none while explain is false"));
  request.set_explain(true);
  for (const int64_t top : {k2To63, int64_t{-1}, int64_t{0}, int64_t{33}, k2To31}) {
    request.set_explain_top(top);
    ExpectInvalid(request, HasSubstr(absl::StrCat("explain_top: got ", top, ", expected 1 to 32")));
  }
}

TEST_F(BadRequestTest, RealNumbersOutOfRange) {
  const google::protobuf::Reflection& reflection = *v1::GenerateRequest::GetReflection();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();  // what 1e400 is read as
  const double kValues[] = {-1000,
                            0x1p31,
                            0x1p63,
                            1e300,
                            kInfinity,
                            -kInfinity,
                            std::numeric_limits<double>::quiet_NaN()};
  for (const std::string field : {"temperature", "top_p", "min_p", "repetition_penalty",
                                  "presence_penalty", "frequency_penalty", "logit_bias"}) {
    for (const double value : kValues) {
      SCOPED_TRACE(absl::StrCat(field, " = ", value));
      v1::GenerateRequest request = Good();
      if (field == "logit_bias") {
        (*request.mutable_logit_bias())[7] = value;
      } else {
        reflection.SetDouble(&request, request.GetDescriptor()->FindFieldByName(field), value);
      }
      ExpectInvalid(request, AllOf(HasSubstr(field), HasSubstr("got "), HasSubstr("expected ")));
    }
  }
}

TEST_F(BadRequestTest, TooManyStopsAndSamples) {
  v1::GenerateRequest stops = Good(), samples = Good();
  for (int i = 0; i < 1000; ++i) stops.add_stop(absl::StrCat("stop ", i));
  samples.set_n(16384);
  ExpectInvalid(stops, HasSubstr("stop: got 1000, expected at most 64"));
  ExpectInvalid(samples, HasSubstr("n: got 16384, expected 1 to 128"));
}

TEST_F(BadRequestTest, MinRecallOutOfRange) {
  for (const double value : {0.0, -0.5, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    v1::GenerateRequest request = Good();
    request.set_min_recall(value);
    ExpectInvalid(request, HasSubstr(absl::StrCat("min_recall: got ", value,
                                                  ", expected above 0, at most 1")));
  }
}

TEST_F(BadRequestTest, CacheSaltsThatAreEmptyOrTooLong) {
  v1::GenerateRequest request = Good();
  for (const size_t size : {0, 129}) {
    request.set_cache_salt(std::string(size, 's'));
    ExpectInvalid(request,
                  HasSubstr(absl::StrCat("cache_salt: got ", size, " bytes, expected 1 to 128")));
  }
  request.set_cache_salt(std::string(128, 's'));
  EXPECT_TRUE(eval::Call(cluster_->channel(), request, kPatience).status.ok());
}

TEST_F(BadRequestTest, FieldsOfLaterVersionsAreNamed) {
  v1::GenerateRequest adapter = Good(), start = Good();
  adapter.set_adapter("x");
  start.mutable_kv_policy()->set_num_start_tokens(4);
  ExpectRefusal(adapter, StatusCode::UNIMPLEMENTED, HasSubstr("adapter"));
  ExpectRefusal(start, StatusCode::UNIMPLEMENTED, HasSubstr("kv_policy.num_start_tokens"));
}

TEST_F(BadRequestTest, KvPoliciesThatAreUnknownOrOutOfRange) {
  v1::GenerateRequest request = Good();
  v1::KvPolicy* const policy = request.mutable_kv_policy();
  policy->set_name("other");
  ExpectInvalid(request, HasSubstr("kv_policy.name: got \"other\", expected one that the workers "
                                   "allow: full, sentencekv"));
  policy->set_name("sentencekv");
  for (const int64_t budget : {int64_t{-1}, int64_t{0}, int64_t{15}, k2To31, k2To63}) {
    policy->set_max_capacity_prompts(budget);
    ExpectInvalid(request, HasSubstr(absl::StrCat("kv_policy.max_capacity_prompts: got ", budget,
                                                  ", expected 16 to 16777216")));
  }
  policy->clear_max_capacity_prompts();
  for (const double factor : {-1.0, 0.5, 0x1p31, std::numeric_limits<double>::infinity(),
                              std::numeric_limits<double>::quiet_NaN()}) {
    policy->set_semantic_factor(factor);
    ExpectInvalid(request, AllOf(HasSubstr("kv_policy.semantic_factor: got "),
                                 HasSubstr("expected 0 (no filter) or 1 to 1000000")));
  }
  policy->set_name("full");
  policy->set_semantic_factor(2);
  ExpectInvalid(request, HasSubstr("kv_policy.semantic_factor: got 2, expected none"));
}

TEST_F(BadRequestTest, SpecialTokensAreReadInTextOnly) {
  v1::GenerateRequest ids = WithTokenIds({5}), chat = Good();
  ids.set_parse_special(true);
  v1::ChatMessage* const message = chat.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("Hello");
  chat.set_parse_special(true);
  ExpectInvalid(ids, HasSubstr("parse_special"));
  ExpectInvalid(chat, HasSubstr("parse_special"));
}

TEST_F(BadRequestTest, UnknownModel) {
  v1::GenerateRequest request = Good();
  request.set_model("no-such-model");
  ExpectRefusal(request, StatusCode::NOT_FOUND, HasSubstr("no-such-model"));
}

}  // namespace
}  // namespace skv::e2e
