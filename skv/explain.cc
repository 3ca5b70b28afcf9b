#include "skv/explain.h"

#include "text/detokenizer.h"

namespace skv {

ExplainedSentence Explain(const engine::Explanation& explanation, const text::TokenText& prompt,
                          const text::Tokenizer& tokenizer, const std::vector<TokenId>& tokens) {
  ExplainedSentence result{
      .token_begin = explanation.begin, .token_end = explanation.end, .text = {}, .reads = {}};
  text::IncrementalDetokenizer detokenizer(&tokenizer, {});
  for (int i = explanation.begin; i < explanation.end; ++i) {
    result.text += detokenizer.Push(tokens[i]);
  }
  result.text += detokenizer.Flush();
  for (const engine::SentenceRead& read : explanation.reads) {
    const text::ByteRange bytes = prompt.BytesOf(read.begin, read.end);
    result.reads.push_back({.token_begin = read.begin,
                            .token_end = read.end,
                            .text_begin = bytes.begin,
                            .text_end = bytes.end,
                            .text = prompt.TextOf(read.begin, read.end),
                            .score = read.score,
                            .heads_share = read.heads_share});
  }
  return result;
}

}  // namespace skv
