#pragma once
// Explanations for eyes and for scripts. Pure.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/cli/text_source.h"

namespace skv::cli {

// Each generated sentence, and below it a line for each sentence that it read: score, share of
// heads, bytes of the prompt, text. Every sentence stands on one line, without control characters.
// With `color` by ANSI escapes: generated sentences bold, the others brighter the larger their
// score.
std::string RenderExplanations(const std::vector<ExplainedSentence>& explanations, bool color);

nlohmann::ordered_json ToJson(const std::vector<ExplainedSentence>& explanations);

}  // namespace skv::cli
