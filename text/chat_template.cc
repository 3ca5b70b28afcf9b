#include "text/chat_template.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "common/status.h"

namespace skv::text {
namespace {

// What the Llama 3.1 template writes into every system message; its date is a constant there too.
constexpr std::string_view kLlama3_1Dates =
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// The literal text of `<|im_start|>system\n...<|im_end|>` in a ChatML template. Where the message's
// content is inserted instead, a quote ends the literal, and there is no default.
std::string FindDefaultSystem(std::string_view jinja) {
  constexpr std::string_view kOpen = "<|im_start|>system";
  for (size_t pos = jinja.find(kOpen); pos != std::string_view::npos;
       pos = jinja.find(kOpen, pos + 1)) {
    std::string_view rest = jinja.substr(pos + kOpen.size());
    for (const std::string_view line_break : {"\n", "\\n"}) {
      if (rest.substr(0, line_break.size()) != line_break) continue;
      rest.remove_prefix(line_break.size());
      const std::string_view literal = rest.substr(0, rest.find_first_of("'\"{<"));
      if (!literal.empty() && rest.substr(literal.size(), 10) == "<|im_end|>") {
        return std::string(literal);
      }
      break;
    }
  }
  return "";
}

// What Jinja's `trim` takes off: Python's white space, of which prompts hold the ASCII part.
std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\n\v\f\r\x1C\x1D\x1E\x1F";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

absl::Status CheckMessages(const std::vector<ChatMessage>& messages, size_t max_messages) {
  if (messages.empty() || messages.size() > max_messages) {
    return absl::InvalidArgumentError(
        absl::StrFormat("messages: %u messages, expected 1 to %u", messages.size(), max_messages));
  }
  for (size_t idx = 0; idx < messages.size(); ++idx) {
    const std::string& role = messages[idx].role;
    if (std::ranges::find(ChatTemplate::kRoles, role) == ChatTemplate::kRoles.end()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "messages[%u].role: \"%s\", expected \"system\", \"user\", \"assistant\" or \"tool\"",
          idx, absl::CHexEscape(Sv(std::string_view(role).substr(0, 64)))));
    }
    if (role == "system" && idx > 0) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "messages[%u].role: \"system\" must be the first message, put it first", idx));
    }
  }
  return absl::OkStatus();
}

}  // namespace

class ChatTemplate::PartList {
 public:
  void AddMarker(std::string_view text) { parts_.push_back({true, std::string(text)}); }

  void AddText(std::string_view text) {
    if (parts_.empty() || parts_.back().is_marker) parts_.push_back({false, ""});
    parts_.back().text.append(text);
  }

  void AddChatMlOpening(std::string_view role) {
    AddMarker("<|im_start|>");
    AddText(role);
    AddText("\n");
  }

  void AddLlama3Opening(std::string_view role) {
    AddMarker("<|start_header_id|>");
    AddText(role);
    AddMarker("<|end_header_id|>");
    AddText("\n\n");
  }

  std::vector<Part> Take() { return std::move(parts_); }

 private:
  std::vector<Part> parts_;
};

absl::StatusOr<ChatTemplate> ChatTemplate::Detect(std::string_view jinja) {
  if (jinja.empty()) {
    return absl::NotFoundError(
        "chat template: the model file has none; send the prompt as text instead of messages");
  }
  if (Contains(jinja, "<|im_start|>") && Contains(jinja, "<|im_end|>")) {
    return ChatTemplate(Format::kChatMl, FindDefaultSystem(jinja));
  }
  if (Contains(jinja, "<|start_header_id|>") && Contains(jinja, "<|eot_id|>")) {
    const bool has_dates = Contains(jinja, "Cutting Knowledge Date");
    return ChatTemplate(has_dates ? Format::kLlama3_1 : Format::kLlama3, "");
  }
  return absl::UnimplementedError(
      "chat template: neither ChatML (<|im_start|>) nor Llama 3 (<|start_header_id|>); send the "
      "prompt as text instead of messages");
}

absl::StatusOr<std::vector<ChatTemplate::Part>> ChatTemplate::RenderParts(
    const std::vector<ChatMessage>& messages, bool add_generation_prompt) const {
  SKV_RETURN_IF_ERROR(CheckMessages(messages, kMaxMessages));
  const bool is_chat_ml = format_ == Format::kChatMl;
  PartList parts;
  const auto add_message = [&](std::string_view role, std::string_view content) {
    if (is_chat_ml) {
      parts.AddChatMlOpening(role);
      parts.AddText(content);
      parts.AddMarker("<|im_end|>");
      parts.AddText("\n");
    } else {
      parts.AddLlama3Opening(role == "tool" && format_ == Format::kLlama3_1 ? "ipython" : role);
      if (role == "system" && format_ == Format::kLlama3_1) parts.AddText(kLlama3_1Dates);
      parts.AddText(Trim(content));
      parts.AddMarker("<|eot_id|>");
    }
  };
  if (!is_chat_ml) parts.AddMarker("<|begin_of_text|>");
  const bool needs_system = !default_system_.empty() || format_ == Format::kLlama3_1;
  if (needs_system && messages[0].role != "system") add_message("system", default_system_);
  for (const ChatMessage& message : messages) add_message(message.role, message.content);
  if (add_generation_prompt && is_chat_ml) parts.AddChatMlOpening("assistant");
  if (add_generation_prompt && !is_chat_ml) parts.AddLlama3Opening("assistant");
  return parts.Take();
}

absl::StatusOr<std::string> ChatTemplate::Render(const std::vector<ChatMessage>& messages,
                                                 bool add_generation_prompt) const {
  SKV_ASSIGN_OR_RETURN(const std::vector<Part> parts, RenderParts(messages, add_generation_prompt));
  std::string prompt;
  for (const Part& part : parts) prompt.append(part.text);
  return prompt;
}

absl::StatusOr<std::vector<TokenId>> ChatTemplate::RenderToTokens(
    const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
    bool add_generation_prompt) const {
  SKV_ASSIGN_OR_RETURN(const std::vector<Part> parts, RenderParts(messages, add_generation_prompt));
  std::vector<TokenId> ids;
  for (const Part& part : parts) {
    SKV_ASSIGN_OR_RETURN(const std::vector<TokenId> part_ids,
                         tokenizer.Encode(part.text, {.parse_special = part.is_marker}));
    if (part.is_marker && (part_ids.size() != 1 || !tokenizer.IsControl(part_ids[0]))) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "chat template: marker %s is no control token of the vocabulary", part.text));
    }
    ids.insert(ids.end(), part_ids.begin(), part_ids.end());
  }
  return ids;
}

}  // namespace skv::text
