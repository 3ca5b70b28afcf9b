#pragma once
// What the engine says of an answer's sentences, as texts.

#include <vector>

#include "common/types.h"
#include "skv/llm.h"
#include "text/token_text.h"
#include "text/tokenizer.h"
#include "worker/engine/request.h"

namespace skv {

// `tokens` are those of the answer, as far as `explanation` reaches.
ExplainedSentence Explain(const engine::Explanation& explanation, const text::TokenText& prompt,
                          const text::Tokenizer& tokenizer, const std::vector<TokenId>& tokens);

}  // namespace skv
