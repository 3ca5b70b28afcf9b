#include "text/tokenizer_spec.h"

#include <functional>

#include "common/testing/status_matchers.h"
#include "text/testing/tiny_spec.h"

namespace skv::text {
namespace {

using testing::HasSubstr;

TEST(TokenizerSpecTest, AcceptsTheTinyVocabulary) { EXPECT_OK(Validate(TinySpec({"h e"}))); }

TEST(TokenizerSpecTest, AcceptsMissingTypesAsNormal) {
  TokenizerSpec spec = TinySpec({"h e"});
  spec.token_types.clear();
  EXPECT_OK(Validate(spec));
}

TEST(TokenizerSpecTest, RefusesWhatNoTokenizerCanBeBuiltFrom) {
  const struct {
    const char* why;
    std::function<void(TokenizerSpec*)> damage;
    absl::StatusCode code;
    const char* message;
  } kCases[] = {
      {"model", [](auto* s) { s->model = "llama"; }, absl::StatusCode::kUnimplemented, "\"llama\""},
      {"pre", [](auto* s) { s->pre = "qwen2"; }, absl::StatusCode::kUnimplemented, "\"qwen2\""},
      {"no tokens",
       [](auto* s) {
         s->tokens.clear();
         s->token_types.clear();
       },
       absl::StatusCode::kInvalidArgument, "0 tokens"},
      {"too many tokens", [](auto* s) { s->tokens.resize(kMaxVocabSize + 1); },
       absl::StatusCode::kInvalidArgument, "1048577 tokens"},
      {"types of another length", [](auto* s) { s->token_types.pop_back(); },
       absl::StatusCode::kInvalidArgument, "260 token types for 261 tokens"},
      {"empty piece", [](auto* s) { s->tokens[7] = ""; }, absl::StatusCode::kInvalidArgument,
       "token 7"},
      {"long piece", [](auto* s) { s->tokens[7] = std::string(kMaxTokenPieceBytes + 1, 'x'); },
       absl::StatusCode::kInvalidArgument, "4097 bytes"},
      {"piece that is not UTF-8", [](auto* s) { s->tokens[7] = "\xFF"; },
       absl::StatusCode::kInvalidArgument, "not UTF-8"},
      {"duplicate piece", [](auto* s) { s->tokens[7] = "a"; }, absl::StatusCode::kInvalidArgument,
       "token 97"},
      {"unknown type", [](auto* s) { s->token_types[3] = 9; }, absl::StatusCode::kInvalidArgument,
       "type 9"},
      {"bos outside", [](auto* s) { s->bos_id = 261; }, absl::StatusCode::kInvalidArgument,
       "bos id 261"},
      {"eos below none", [](auto* s) { s->eos_id = -2; }, absl::StatusCode::kInvalidArgument,
       "eos id -2"},
      {"add_bos without bos",
       [](auto* s) {
         s->add_bos = true;
         s->bos_id = -1;
       },
       absl::StatusCode::kInvalidArgument, "add_bos"},
      {"merge without a space", [](auto* s) { s->merges[0] = "he"; },
       absl::StatusCode::kInvalidArgument, "merge 0"},
      {"merge of three", [](auto* s) { s->merges[0] = "h e l"; },
       absl::StatusCode::kInvalidArgument, "one space"},
      {"merge of an unknown piece", [](auto* s) { s->merges[0] = "hq e"; },
       absl::StatusCode::kInvalidArgument, "\"hq\""},
      {"merge into an unknown piece", [](auto* s) { s->merges[0] = "e h"; },
       absl::StatusCode::kInvalidArgument, "\"eh\""},
      {"merge into a control token", [](auto* s) { s->token_types.back() = kTokenControl; },
       absl::StatusCode::kInvalidArgument, "\"he\", whose type is 3"},
      {"merge of an unused token", [](auto* s) { s->token_types['h'] = kTokenUnused; },
       absl::StatusCode::kInvalidArgument, "\"h\", whose type is 5"},
      {"merge listed twice", [](auto* s) { s->merges.push_back("h e"); },
       absl::StatusCode::kInvalidArgument, "twice"},
      {"chat template too long",
       [](auto* s) { s->chat_template.assign(kMaxChatTemplateBytes + 1, ' '); },
       absl::StatusCode::kInvalidArgument, "chat template"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    TokenizerSpec spec = TinySpec({"h e"});
    c.damage(&spec);
    EXPECT_THAT(Validate(spec), StatusIs(c.code, HasSubstr(c.message)));
  }
}

}  // namespace
}  // namespace skv::text
