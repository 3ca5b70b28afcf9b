#pragma once
// skv as a library: a GGUF model in this process, asked from C++. This header is all that a program
// needs; it includes nothing of the rest of the repository. docs/library.md shows it at work.
//
//   auto llm = skv::Llm::Open("model.gguf");
//   auto answer = (*llm)->Chat({{"user", "Name three rivers."}});
//   std::cout << answer->text;

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skv {

namespace engine {
class InProcessEngine;
}
namespace text {
class TokenText;
class Tokenizer;
}  // namespace text

struct LlmOptions {
  int num_threads = 0;          // 0 to 1024; 0: all cores
  std::string backend = "cpu";  // or "ref": exact and slow
  int max_model_len = 0;        // prompt and answer together, in tokens; 0: the model's context
  int max_num_seqs = 64;        // answers computed at once, 1 to 512; 1024 more may wait
  // For keys and values of all answers, committed as they come; 0: 2 GiB, or what one longest
  // answer needs.
  int64_t kv_cache_memory_bytes = 0;
  // Where generated tokens read what they attend: "in-place", or "copied" into a working set of 1.1
  // times the budget, as a device would do it. The same text either way.
  std::string kv_placement = "in-place";
  // What prompts have in common from their first sentence on is computed once, and kept as long as
  // there is room: as much memory again as for keys and values. The same text either way.
  bool enable_prefix_caching = true;
};

struct ChatMessage {
  std::string role;  // "system" (the first only), "user", "assistant" or "tool"
  std::string content;
};

// Names and ranges as in OpenAI's API and vLLM.
struct Sampling {
  float temperature = 0;              // 0 to 100; 0 is greedy
  float top_p = 1;                    // above 0, at most 1 (off)
  float min_p = 0;                    // 0 (off) to 1
  int top_k = 0;                      // 0 is off
  float repetition_penalty = 1;       // above 0, at most 100; 1 is off
  std::optional<uint64_t> seed = {};  // drawn when missing
};

// Which tokens of the context a generated token attends; prompts are always computed in full.
struct KvPolicy {
  std::string name = "full";  // docs/kv-policies.md tells what there is
  // Budget: most tokens attended for each layer and KV head, 16 to 2^24; 1024 when missing. Not of
  // "full".
  std::optional<int> max_capacity_prompts = {};
  // Prompt tokens that stay eligible, as a multiple of the budget: at least 1, or 0 for all, as
  // when missing. Of "sentencekv" only.
  std::optional<double> semantic_factor = {};
};

struct GenerateOptions {
  int max_tokens = 256;  // at least 1; with the prompt at most max_model_len
  Sampling sampling;
  KvPolicy kv_policy;
  // Least share of full attention's mass that what the policy selects must hold, above 0, at most
  // 1; skv.v1.GenerateRequest documents what it costs and what happens below it. Missing: none.
  std::optional<double> min_recall = {};
  // Prompt sentences to name for each sentence of the answer, those that it read most; 0 (none)
  // to 32.
  int explain_top = 0;
  std::vector<std::string> stop;  // texts that end the answer and are not part of it; 64 at most
  // A prompt reuses only what a prompt of the same salt left behind; at most 128 bytes. Empty:
  // none, which all that give none share.
  std::string cache_salt;
};

enum class FinishReason { kStop, kLength, kCancelled };
// "stop", "length", "cancelled".
std::string_view Name(FinishReason reason);

// What min_recall did; a selection is that of one token, layer and KV head.
struct RecallReport {
  double min_recall = 0;
  int64_t checked = 0;  // selections; 0 with a policy that attends everything
  int64_t widened = 0;  // of these, the ones that held too little and attended more
  int64_t full = 0;     // of the widened ones, those that attended everything
};

// What the attention of generated tokens read: means over positions, layers and KV heads.
struct KvReport {
  KvPolicy policy;  // with the values that held; null where the policy has no such parameter
  std::string fingerprint;  // of all that the selection depends on beside the text
  int64_t generated_positions = 0;
  double attended_tokens = 0;  // keys and values that attention read
  // What the policy read beside them to choose them (index, sketches of keys, keys, values), in
  // tokens whose keys and values have as many bytes.
  double choosing_tokens = 0;
  double visible_tokens = 0;                // what "full" would have read
  double read_share = 1;                    // (attended + choosing) / visible
  std::optional<RecallReport> recall = {};  // with min_recall
};

// A sentence of the prompt, as one of the answer read it. Texts are UTF-8, byte ranges are of the
// prompt: of a conversation with the marks of the model's chat format.
struct SentenceRead {
  int token_begin = 0;
  int token_end = 0;
  int64_t text_begin = 0;
  int64_t text_end = 0;
  std::string text;
  double score = 0;  // skv.v1.SentenceRead documents both
  double heads_share = 0;
};

struct ExplainedSentence {
  int token_begin = 0;  // of the answer's tokens
  int token_end = 0;
  std::string text;
  std::vector<SentenceRead> reads;  // largest score first
};

struct Answer {
  std::string text;
  FinishReason finish_reason = FinishReason::kStop;
  int prompt_tokens = 0;
  int cached_tokens = 0;  // of the prompt, not computed anew
  int completion_tokens = 0;
  double time_to_first_token_seconds = 0;
  double decode_seconds = 0;  // first to last token
  KvReport kv;
  std::vector<ExplainedSentence> explanations;  // with explain_top
};

// Gets each new piece of the answer, whole UTF-8 characters, in order, in the thread that asked.
// While there is nothing new it gets an empty piece ten times a second, while a prompt is computed
// too. False ends the answer within one step of the engine: what came so far is returned, with
// kCancelled.
using TextCallback = std::function<bool(std::string_view piece)>;

// Thread-safe: any number of threads may ask at once, and their answers are computed together,
// which is faster than one by one and changes no answer. Destroyed after the last of them has
// returned.
class Llm {
 public:
  // Loads the model. InvalidArgument names an option that is out of range, as a flag of skv-worker;
  // NotFound, DataLoss and Unimplemented are about the file.
  static absl::StatusOr<std::unique_ptr<Llm>> Open(const std::string& model_path,
                                                   const LlmOptions& options = {});
  ~Llm();
  Llm(const Llm&) = delete;
  Llm& operator=(const Llm&) = delete;

  // Answers a conversation in the model's own chat format. Text of control tokens in a message
  // stays text. NotFound, Unimplemented: the model has no chat format, or one that is not known.
  //
  // Chat and Complete return InvalidArgument, naming field, value and range, for anything wrong in
  // what they are given; ResourceExhausted when it does not fit in the KV memory or too many
  // answers wait; Internal when the model's numbers are no longer finite; Unavailable when the
  // engine broke.
  absl::StatusOr<Answer> Chat(const std::vector<ChatMessage>& messages,
                              const GenerateOptions& options = {},
                              const TextCallback& on_text = nullptr) const;
  // Continues a text as it stands.
  absl::StatusOr<Answer> Complete(std::string_view prompt, const GenerateOptions& options = {},
                                  const TextCallback& on_text = nullptr) const;

  int max_model_len() const;

 private:
  Llm();
  absl::StatusOr<Answer> Generate(std::vector<int32_t> prompt_ids, const text::TokenText& prompt,
                                  const GenerateOptions& options,
                                  const TextCallback& on_text) const;

  std::unique_ptr<text::Tokenizer> tokenizer_;
  size_t max_prompt_bytes_ = 0;  // what max_model_len tokens can hold
  std::unique_ptr<engine::InProcessEngine> engine_;
};

}  // namespace skv
