// The library as a program uses it, on the real model.

#include "skv/llm.h"

#include <cmath>
#include <thread>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/testing/status_matchers.h"
#include "worker/loader/testing/default_model.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv {
namespace {

using absl::StatusCode;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class LlmTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto path = loader::DefaultModelPath();
    ASSERT_OK(path);
    auto llm = Llm::Open(*path, {.num_threads = 2, .max_model_len = 2048});
    ASSERT_OK(llm);
    llm_ = llm->release();
  }
  static void TearDownTestSuite() { delete llm_; }

  void SetUp() override { ASSERT_NE(llm_, nullptr); }

  static std::vector<ChatMessage> Ask(std::string text) { return {{"user", std::move(text)}}; }

  // A hundred sentences, of which one holds the answer.
  static std::string Document() {
    std::string text;
    for (int i = 0; i < 100; ++i) {
      text += i == 30 ? "The captain of the ship is called Irene. "
                      : "The harbour was quiet, and a boat lay at the quay. ";
    }
    return text;
  }

  static Llm* llm_;
};

Llm* LlmTest::llm_ = nullptr;

TEST_F(LlmTest, AnswersAndSaysHow) {
  std::string streamed;
  const auto answer =
      llm_->Chat(Ask("What is the capital of France? Answer in one short sentence."),
                 {.max_tokens = 32}, [&](std::string_view piece) {
                   streamed += piece;
                   return true;
                 });
  ASSERT_OK(answer);
  EXPECT_THAT(answer->text, HasSubstr("Paris"));
  EXPECT_EQ(streamed, answer->text);
  EXPECT_EQ(Name(answer->finish_reason), "stop");
  EXPECT_GT(answer->prompt_tokens, 10);
  EXPECT_GT(answer->completion_tokens, 1);
  EXPECT_LE(answer->completion_tokens, 32);
  EXPECT_GT(answer->time_to_first_token_seconds, 0);
  EXPECT_GT(answer->decode_seconds, 0);
  EXPECT_EQ(answer->kv.policy.name, "full");
  EXPECT_FALSE(answer->kv.policy.max_capacity_prompts.has_value());
  EXPECT_EQ(answer->kv.generated_positions, answer->completion_tokens - 1);
  EXPECT_EQ(answer->kv.read_share, 1);
}

TEST_F(LlmTest, CompletesATextAsItStands) {
  const auto answer = llm_->Complete("One, two, three, four,", {.max_tokens = 2});
  ASSERT_OK(answer);
  EXPECT_THAT(answer->text, StartsWith(" five"));
  EXPECT_EQ(answer->finish_reason, FinishReason::kLength);
  EXPECT_EQ(answer->completion_tokens, 2);
}

TEST_F(LlmTest, AKvPolicyReadsWithinItsBudgetAndReportsIt) {
  const auto answer = llm_->Chat(
      Ask(Document() + "\n\nWhat is the name of the captain?"),
      {.max_tokens = 16,
       .kv_policy = {.name = "sentencekv", .max_capacity_prompts = 256, .semantic_factor = 3}});
  ASSERT_OK(answer);
  EXPECT_THAT(answer->text, HasSubstr("Irene"));
  const KvReport& kv = answer->kv;
  EXPECT_EQ(kv.policy.max_capacity_prompts, 256);
  EXPECT_EQ(kv.policy.semantic_factor, 3);
  EXPECT_THAT(kv.fingerprint, StartsWith("sentencekv/budget=256/factor=3"));
  EXPECT_LE(kv.attended_tokens, 256);
  EXPECT_GT(kv.visible_tokens, 1000);
  EXPECT_GT(kv.choosing_tokens, 0);
  EXPECT_DOUBLE_EQ(kv.read_share, (kv.attended_tokens + kv.choosing_tokens) / kv.visible_tokens);
}

TEST_F(LlmTest, ADocumentIsReadOnceForAllQuestions) {
  const auto ask = [&](std::string salt) {
    return llm_->Chat(Ask(Document() + "What is the captain of the ship called?"),
                      {.max_tokens = 24, .cache_salt = std::move(salt)});
  };
  const auto cold = ask("a reader"), warm = ask("a reader"), another = ask("another reader");
  ASSERT_OK(cold);
  ASSERT_OK(warm);
  ASSERT_OK(another);
  EXPECT_EQ(cold->cached_tokens, 0);
  EXPECT_GT(warm->cached_tokens, warm->prompt_tokens * 9 / 10);
  EXPECT_LT(warm->cached_tokens, warm->prompt_tokens);
  EXPECT_EQ(another->cached_tokens, 0);
  EXPECT_EQ(warm->text, cold->text);
}

TEST_F(LlmTest, ExplainsWhatASentenceRead) {
  const auto answer = llm_->Chat(Ask(Document() + "\n\nWhat is the name of the captain?"),
                                 {.max_tokens = 16, .explain_top = 2});
  ASSERT_OK(answer);
  ASSERT_THAT(answer->explanations, ::testing::SizeIs(1));
  const ExplainedSentence& sentence = answer->explanations[0];
  EXPECT_EQ(sentence.text, answer->text);
  ASSERT_THAT(sentence.reads, ::testing::SizeIs(2));
  EXPECT_THAT(sentence.reads[0].text + sentence.reads[1].text, HasSubstr("captain"));
  EXPECT_GE(sentence.reads[0].score, sentence.reads[1].score);
}

TEST_F(LlmTest, ASeedDrawsTheSameTextAgain) {
  const auto draw = [](uint64_t seed) {
    const auto answer = llm_->Complete(
        "Once upon a time", {.max_tokens = 16, .sampling = {.temperature = 1, .seed = seed}});
    EXPECT_OK(answer);
    return answer->text;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

TEST_F(LlmTest, AStopStringEndsTheAnswerBeforeIt) {
  const auto answer =
      llm_->Complete("One, two, three, four,", {.max_tokens = 1000, .stop = {" eight"}});
  ASSERT_OK(answer);
  EXPECT_EQ(answer->text, " five, six, seven,");
  EXPECT_EQ(answer->finish_reason, FinishReason::kStop);
  EXPECT_LT(answer->completion_tokens, 20);
}

TEST_F(LlmTest, ACallbackEndsTheAnswer) {
  int calls = 0;
  std::string streamed;
  const auto answer =
      llm_->Complete("Once upon a time", {.max_tokens = 1500}, [&](std::string_view piece) {
        ++calls;
        streamed += piece;
        return streamed.size() < 10;
      });
  ASSERT_OK(answer);
  EXPECT_EQ(Name(answer->finish_reason), "cancelled");
  EXPECT_EQ(answer->text, streamed);
  EXPECT_LT(answer->completion_tokens, 1000);
  const int calls_until_false = calls;
  EXPECT_OK(llm_->Complete("Once", {.max_tokens = 1}));
  EXPECT_EQ(calls, calls_until_false);
}

TEST_F(LlmTest, ACallbackEndsAPromptThatIsStillComputed) {
  // The ref backend takes seconds for it.
  const loader::TinyLlamaFile model({.num_layers = 8, .context_length = 8192});
  const auto llm = Llm::Open(model.path(), {.num_threads = 1, .backend = "ref"});
  ASSERT_OK(llm);
  const auto answer = (*llm)->Complete(std::string(7900, 'a'), {}, [](std::string_view piece) {
    EXPECT_EQ(piece, "");
    return false;
  });
  ASSERT_OK(answer);
  EXPECT_EQ(answer->finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(answer->completion_tokens, 0);
  EXPECT_EQ(answer->kv.generated_positions, 0);
}

// Ends a wait for others that never come.
constexpr auto kPatience = std::chrono::minutes(2);

TEST_F(LlmTest, ThreadsAreAnsweredTogetherAsIfAlone) {
  constexpr int kThreads = 4;
  const auto prompt = [](int i) { return "Item " + std::to_string(i) + " of the list is"; };
  std::vector<std::string> alone;
  for (int i = 0; i < kThreads; ++i) {
    const auto answer = llm_->Complete(prompt(i), {.max_tokens = 24});
    ASSERT_OK(answer);
    alone.push_back(answer->text);
  }

  Mutex mutex;
  CondVar changed;
  int begun = 0;
  std::vector<std::string> together(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      bool first = true;
      // Nobody goes on until each has got a piece: one at a time would never end.
      const auto answer =
          llm_->Complete(prompt(i), {.max_tokens = 24}, [&](std::string_view piece) {
            if (piece.empty() || !std::exchange(first, false)) return true;
            MutexLock lock(&mutex);
            ++begun;
            changed.NotifyAll();
            return changed.WaitUntil(&mutex, RealClock().Now() + kPatience,
                                     [&] { return begun == kThreads; });
          });
      EXPECT_OK(answer);
      if (answer.ok()) together[i] = answer->text;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST_F(LlmTest, BadInputIsNamedAndNothingElseSuffers) {
  const struct {
    const char* what;
    std::vector<ChatMessage> messages;
    GenerateOptions options;
    const char* message;
  } kCases[] = {
      {"no message", {}, {}, "message"},
      {"unknown role", {{"poet", "Hello"}}, {}, "poet"},
      {"not UTF-8", {{"user", "a\xFF"}}, {}, "messages[0].content: byte 1 (0xFF)"},
      {"over the context",
       Ask(std::string(5000, ' ') + Document() + Document() + Document()),
       {},
       "together at most 2048"},
      {"far over the context",
       Ask(std::string(10 << 20, 'a')),
       {},
       "messages[0].content: 10485760 bytes"},
      {"no token", Ask("Hello"), {.max_tokens = 0}, "max_tokens"},
      {"negative", Ask("Hello"), {.max_tokens = -1}, "max_tokens"},
      {"more tokens than fit", Ask("Hello"), {.max_tokens = 1 << 30}, "together at most 2048"},
      {"temperature", Ask("Hello"), {.sampling = {.temperature = NAN}}, "temperature"},
      {"top_p", Ask("Hello"), {.sampling = {.top_p = 0}}, "top_p"},
      {"unknown policy", Ask("Hello"), {.kv_policy = {.name = "half"}}, "\"half\" is unknown"},
      {"small budget",
       Ask("Hello"),
       {.kv_policy = {.name = "sentencekv", .max_capacity_prompts = -1}},
       "kv_policy.max_capacity_prompts: -1, expected 16"},
      {"factor",
       Ask("Hello"),
       {.kv_policy = {.name = "sentencekv", .semantic_factor = NAN}},
       "kv_policy.semantic_factor: nan"},
      {"budget without a policy",
       Ask("Hello"),
       {.kv_policy = {.max_capacity_prompts = 64}},
       "kv_policy.max_capacity_prompts: no effect with policy \"full\""},
      {"factor without a policy",
       Ask("Hello"),
       {.kv_policy = {.semantic_factor = 2}},
       "kv_policy.semantic_factor: no effect with policy \"full\""},
      {"sentences to explain", Ask("Hello"), {.explain_top = 33}, "explain_top: 33"},
      {"empty stop", Ask("Hello"), {.stop = {""}}, "stop"},
      {"long salt",
       Ask("Hello"),
       {.cache_salt = std::string(129, 's')},
       "cache_salt: 129 bytes, expected at most 128"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    EXPECT_THAT(llm_->Chat(c.messages, c.options),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
  EXPECT_THAT(llm_->Complete(""), StatusIs(StatusCode::kInvalidArgument, HasSubstr("prompt")));
  EXPECT_OK(llm_->Chat(Ask("Hello"), {.max_tokens = 1}));
}

TEST(LlmOpenTest, ModelsAndOptionsThatAreWrongAreNamed) {
  const loader::TinyLlamaFile model({.head_dim = 32});
  const struct {
    LlmOptions options;
    const char* message;
  } kCases[] = {{{.num_threads = -1}, "--threads: -1"},
                {{.num_threads = 1 << 30}, "--threads: 1073741824"},
                {{.backend = "gpu"}, "--backend: \"gpu\""},
                {{.max_model_len = 513}, "--max-model-len: 513"},
                {{.max_model_len = -1}, "--max-model-len: -1"},
                {{.max_num_seqs = 0}, "--max-num-seqs"},
                {{.max_num_seqs = 513}, "--max-num-seqs, 513"},
                {{.kv_cache_memory_bytes = -1}, "--kv-cache-memory-bytes: -1"},
                {{.kv_placement = "gpu"}, "--kv-placement: \"gpu\""}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    EXPECT_THAT(Llm::Open(model.path(), c.options).status(),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
  EXPECT_THAT(Llm::Open("/nowhere.gguf").status(),
              StatusIs(StatusCode::kNotFound, HasSubstr("/nowhere.gguf")));
}

}  // namespace
}  // namespace skv
