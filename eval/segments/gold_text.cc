#include "eval/segments/gold_text.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/status.h"

namespace skv::segments {
namespace {

absl::StatusOr<std::string> Unescape(std::string_view line, int line_number) {
  std::string text;
  for (size_t pos = 0; pos < line.size(); ++pos) {
    if (line[pos] != '\\') {
      text.push_back(line[pos]);
      continue;
    }
    const char escaped = ++pos < line.size() ? line[pos] : ' ';
    if (escaped != 'n' && escaped != '\\') {
      return absl::InvalidArgumentError(absl::StrFormat(
          "gold: line %d: unknown escape \\%c, expected \\n or \\\\", line_number, escaped));
    }
    text.push_back(escaped == 'n' ? '\n' : '\\');
  }
  return text;
}

void AppendSentence(std::string_view sentence, GoldDocument* document) {
  std::string& text = document->text;
  if (!text.empty()) {
    const size_t visible = std::min(sentence.find_first_not_of(' '), sentence.size());
    const bool needs_space = text.back() != '\n' && document->kind != "cjk";
    if (needs_space) text.push_back(' ');
    document->ends.push_back(text.size() + visible);
  }
  text += sentence;
}

}  // namespace

absl::StatusOr<std::vector<GoldDocument>> ParseGold(std::string_view file) {
  std::vector<GoldDocument> documents;
  int line_number = 0;
  for (const auto part : absl::StrSplit(Sv(file), '\n')) {
    const std::string_view line(part.data(), part.size());
    ++line_number;
    if (line.empty() || (documents.empty() && line.starts_with('#'))) continue;
    if (line.starts_with("== ")) {
      documents.push_back({.kind = std::string(line.substr(3)), .text = "", .ends = {}});
      continue;
    }
    if (documents.empty()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("gold: line %d: a sentence before the first \"== KIND\"", line_number));
    }
    SKV_ASSIGN_OR_RETURN(const std::string sentence, Unescape(line, line_number));
    AppendSentence(sentence, &documents.back());
  }
  return documents;
}

}  // namespace skv::segments
