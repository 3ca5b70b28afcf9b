#pragma once
// Chat messages to a prompt, in the fixed formats of known model families. The Jinja source of a
// model file only decides which format it is; it is never run.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "text/tokenizer.h"

namespace skv::text {

struct ChatMessage {
  std::string role;  // one of ChatTemplate::kRoles
  std::string content;
};

// Immutable and thread-safe.
class ChatTemplate {
 public:
  enum class Format {
    kChatMl,    // <|im_start|>role\ncontent<|im_end|>\n
    kLlama3,    // <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>, content trimmed
    kLlama3_1,  // kLlama3 with a system message that always starts with two dates
  };
  static constexpr size_t kMaxMessages = 4096;
  // ChatML and the first Llama 3 write them as they stand; Llama 3.1 calls "tool" "ipython".
  static constexpr std::array<std::string_view, 4> kRoles = {"system", "user", "assistant", "tool"};

  // Recognises the format by its markers. A default system prompt that a ChatML template spells out
  // (SmolLM2: "You are a helpful AI assistant named SmolLM, trained by Hugging Face") is taken
  // over. NotFound: `jinja` is empty. Unimplemented: another format.
  static absl::StatusOr<ChatTemplate> Detect(std::string_view jinja);

  // The prompt as text. With `add_generation_prompt` it ends where the assistant's answer begins.
  // InvalidArgument, naming the message: no messages, too many, an unknown role (a role is part of
  // the prompt's frame and never free text), a system message that is not the first.
  absl::StatusOr<std::string> Render(const std::vector<ChatMessage>& messages,
                                     bool add_generation_prompt) const;

  // The prompt as ids, equal to Encode(Render(...), parse_special) as long as no content holds the
  // text of a control token. Where it does, that text stays ordinary text: no content can forge a
  // turn. Errors of Render and of Encode; FailedPrecondition when the vocabulary lacks a marker.
  absl::StatusOr<std::vector<TokenId>> RenderToTokens(const Tokenizer& tokenizer,
                                                      const std::vector<ChatMessage>& messages,
                                                      bool add_generation_prompt) const;

  Format format() const { return format_; }
  // Stands in for a missing system message; empty where the model has none.
  const std::string& default_system() const { return default_system_; }

 private:
  // A marker is one control token; what stands between two markers is one part, so that it is
  // tokenised as the plain prompt would be.
  struct Part {
    bool is_marker;
    std::string text;
  };
  class PartList;

  ChatTemplate(Format format, std::string default_system)
      : format_(format), default_system_(std::move(default_system)) {}

  absl::StatusOr<std::vector<Part>> RenderParts(const std::vector<ChatMessage>& messages,
                                                bool add_generation_prompt) const;

  Format format_;
  std::string default_system_;
};

}  // namespace skv::text
