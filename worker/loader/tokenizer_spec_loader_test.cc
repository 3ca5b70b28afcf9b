#include "worker/loader/tokenizer_spec_loader.h"

#include <functional>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/loader/testing/gguf_writer.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::loader {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<text::TokenizerSpec> SpecOf(const std::string& bytes) {
  const auto file = GgufFile::Parse(std::as_bytes(std::span(bytes)), "m.gguf");
  if (!file.ok()) return file.status();
  return ReadTokenizerSpec(**file);
}

TEST(TokenizerSpecLoaderTest, ReadsTheTinyModelsTokenizer) {
  ASSERT_OK_AND_ASSIGN(const text::TokenizerSpec spec, SpecOf(TinyLlamaGguf()));
  EXPECT_EQ(spec.model, "gpt2");
  EXPECT_EQ(spec.pre, "smollm");
  ASSERT_EQ(spec.tokens.size(), static_cast<size_t>(kTinyVocabSize));
  EXPECT_EQ(spec.tokens[kTinyEosId], "<|endoftext|>");
  EXPECT_EQ(spec.tokens[kTinyImStartId], "<|im_start|>");
  EXPECT_EQ(spec.tokens[kTinyImEndId], "<|im_end|>");
  EXPECT_EQ(spec.token_types[kTinyImEndId], text::kTokenControl);
  EXPECT_EQ(spec.merges.size(), 12u);
  EXPECT_EQ(spec.bos_id, kTinyEosId);
  EXPECT_EQ(spec.eos_id, kTinyImEndId);
  EXPECT_EQ(spec.eot_id, -1);
  EXPECT_FALSE(spec.add_bos);
  EXPECT_THAT(spec.chat_template, HasSubstr("<|im_start|>"));
}

// Two tokens and a merge; the parts that a case changes are functions.
struct TokenizerFile {
  std::vector<std::string> tokens = {"a", "b", "ab"};
  std::vector<std::string> merges = {"a b"};
  std::function<void(GgufWriter*)> more = [](GgufWriter*) {};
  std::string model = "gpt2";
  std::string pre = "smollm";

  std::string Finish() const {
    GgufWriter writer;
    writer.AddString("tokenizer.ggml.model", model);
    writer.AddString("tokenizer.ggml.pre", pre);
    writer.AddStrings("tokenizer.ggml.tokens", tokens);
    writer.AddStrings("tokenizer.ggml.merges", merges);
    more(&writer);
    return writer.Finish();
  }
};

TEST(TokenizerSpecLoaderTest, Llama3FilesAddBosUnlessTheySayOtherwise) {
  TokenizerFile file;
  file.pre = "llama-bpe";
  file.more = [](GgufWriter* w) { w->AddUint32("tokenizer.ggml.bos_token_id", 0); };
  ASSERT_OK_AND_ASSIGN(const text::TokenizerSpec silent, SpecOf(file.Finish()));
  EXPECT_TRUE(silent.add_bos);
  file.more = [](GgufWriter* w) {
    w->AddUint32("tokenizer.ggml.bos_token_id", 0);
    w->AddBool("tokenizer.ggml.add_bos_token", false);
  };
  ASSERT_OK_AND_ASSIGN(const text::TokenizerSpec outspoken, SpecOf(file.Finish()));
  EXPECT_FALSE(outspoken.add_bos);
}

TEST(TokenizerSpecLoaderTest, SaysThatAFileHasNoTokenizer) {
  TinyLlamaOptions options;
  options.has_tokenizer = false;
  EXPECT_THAT(SpecOf(TinyLlamaGguf(options)),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("m.gguf: has no tokenizer: metadata key tokenizer.ggml.model is "
                                 "missing")));
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "gpt2");
  EXPECT_THAT(SpecOf(writer.Finish()), StatusIs(absl::StatusCode::kNotFound,
                                                HasSubstr("key tokenizer.ggml.tokens is missing")));
}

TEST(TokenizerSpecLoaderTest, NamesTheKeyAndTheEntryThatAreWrong) {
  using Code = absl::StatusCode;
  const auto with = [](std::function<void(GgufWriter*)> more) {
    TokenizerFile file;
    file.more = std::move(more);
    return file;
  };
  TokenizerFile long_piece, long_merge, other_model, duplicate;
  long_piece.tokens[1] = std::string(text::kMaxTokenPieceBytes + 1, 'x');
  long_merge.merges[0] = std::string(20000, 'x');
  other_model.model = "llama";
  duplicate.tokens[1] = "a";
  const struct {
    TokenizerFile file;
    Code code;
    const char* message;
  } kCases[] = {
      {long_piece, Code::kDataLoss, "m.gguf: tokenizer: token 1: "},
      {long_merge, Code::kDataLoss, "merges: entry 0 has 20000 bytes, expected at most 8193"},
      {other_model, Code::kUnimplemented, "m.gguf: tokenizer: model \"llama\""},
      {duplicate, Code::kDataLoss, "m.gguf: tokenizer: token 1: piece \"a\""},
      {with([](GgufWriter* w) { w->AddString("tokenizer.ggml.bos_token_id", "1"); }),
       Code::kDataLoss, "bos_token_id: is string, expected an integer"},
      {with([](GgufWriter* w) { w->AddInt32("tokenizer.ggml.eos_token_id", -1); }), Code::kDataLoss,
       "eos_token_id: is -1, expected a number that is not negative"},
      {with([](GgufWriter* w) { w->AddUint64("tokenizer.ggml.eos_token_id", 1ull << 40); }),
       Code::kDataLoss, "eos_token_id: is 1099511627776, expected a token id"},
      {with([](GgufWriter* w) { w->AddUint32("tokenizer.ggml.eos_token_id", 3); }), Code::kDataLoss,
       "m.gguf: tokenizer: eos id 3"},
      {with([](GgufWriter* w) { w->AddUint32("tokenizer.ggml.add_bos_token", 1); }),
       Code::kDataLoss, "add_bos_token: is uint32, expected bool"},
      {with([](GgufWriter* w) {
         w->AddInt32s("tokenizer.ggml.token_type", {1, 1});
       }),
       Code::kDataLoss, "m.gguf: tokenizer: 2 token types for 3 tokens"},
      {with([](GgufWriter* w) { w->AddStrings("tokenizer.ggml.token_type", {"1"}); }),
       Code::kDataLoss, "token_type: is an array of string, expected an array of integers"},
      {with([](GgufWriter* w) {
         w->AddString("tokenizer.chat_template", std::string(text::kMaxChatTemplateBytes + 1, ' '));
       }),
       Code::kDataLoss, "chat_template: 1048577 bytes, expected at most 1048576"},
      {with([](GgufWriter* w) {
         w->AddTensor("token_embd.weight", {1, 4}, 0, std::string(16, '\0'));
       }),
       Code::kDataLoss, "tokens: 3 entries, expected 4, the rows of token_embd.weight"}};
  ASSERT_OK(SpecOf(TokenizerFile().Finish()));
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    EXPECT_THAT(SpecOf(c.file.Finish()), StatusIs(c.code, HasSubstr(c.message)));
  }
}

}  // namespace
}  // namespace skv::loader
