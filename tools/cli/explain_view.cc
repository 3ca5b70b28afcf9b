#include "tools/cli/explain_view.h"

#include <cmath>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace skv::cli {
namespace {

constexpr std::string_view kPlain = "\x1b[0m", kBold = "\x1b[1m", kDim = "\x1b[2m",
                           kYellow = "\x1b[33m", kBrightYellow = "\x1b[1;33m";

// Scores from which a sentence is highlighted, faintly and brightly.
constexpr double kRead = 0.2, kReadMuch = 0.5;

// On one line, and harmless to a terminal: runs of blanks and control characters (of UTF-8: C0, DEL
// and C1, which is 0xc2 and 0x80 to 0x9f) become one blank.
std::string OneLine(std::string_view text) {
  std::string line;
  bool blank = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool is_c1 =
        byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (is_c1) ++i;
    if (byte <= 0x20 || byte == 0x7f || is_c1) {
      blank = true;
      continue;
    }
    if (blank && !line.empty()) line += ' ';
    blank = false;
    line += text[i];
  }
  return line;
}

std::string Painted(std::string_view style, const std::string& text, bool color) {
  if (!color) return text;
  return absl::StrCat(absl::string_view(style.data(), style.size()), text,
                      absl::string_view(kPlain.data(), kPlain.size()));
}

std::string_view StyleOf(double score) {
  return score >= kReadMuch ? kBrightYellow : score >= kRead ? kYellow : kDim;
}

}  // namespace

std::string RenderExplanations(const std::vector<ExplainedSentence>& explanations, bool color) {
  if (explanations.empty()) return "Nothing to explain: fewer than two tokens were generated.\n";
  std::string view;
  for (size_t i = 0; i < explanations.size(); ++i) {
    const ExplainedSentence& explained = explanations[i];
    absl::StrAppend(&view, "[", i + 1, "] ", Painted(kBold, OneLine(explained.text), color), "\n");
    for (const PromptSentence& read : explained.reads) {
      const std::string sentence = Painted(StyleOf(read.score), OneLine(read.text), color);
      absl::StrAppendFormat(&view, "    score %.2f  heads %3d %%  bytes %d-%d  ", read.score,
                            std::lround(read.heads_share * 100), read.text_begin, read.text_end);
      absl::StrAppend(&view, sentence, "\n");
    }
  }
  return view;
}

nlohmann::ordered_json ToJson(const std::vector<ExplainedSentence>& explanations) {
  nlohmann::ordered_json list = nlohmann::json::array();
  for (const ExplainedSentence& explained : explanations) {
    nlohmann::ordered_json reads = nlohmann::json::array();
    for (const PromptSentence& read : explained.reads) {
      reads.push_back({{"text", read.text},
                       {"text_begin", read.text_begin},
                       {"text_end", read.text_end},
                       {"token_begin", read.token_begin},
                       {"token_end", read.token_end},
                       {"score", read.score},
                       {"heads_share", read.heads_share}});
    }
    list.push_back({{"text", explained.text},
                    {"token_begin", explained.token_begin},
                    {"token_end", explained.token_end},
                    {"reads", reads}});
  }
  return list;
}

}  // namespace skv::cli
