#include "text/token_text.h"

#include <string_view>

#include "text/utf8.h"

namespace skv::text {

TokenText::TokenText(const Tokenizer& tokenizer, absl::Span<const TokenId> ids) {
  ends_.reserve(ids.size());
  for (const TokenId id : ids) {
    bytes_.append(tokenizer.TokenBytes(id));
    ends_.push_back(static_cast<int64_t>(bytes_.size()));
  }
}

TokenText TokenText::OfEncoded(const Tokenizer& tokenizer, absl::Span<const TokenId> ids) {
  const TokenizerSpec& spec = tokenizer.spec();
  const bool added = spec.add_bos && !ids.empty() && ids[0] == spec.bos_id;
  if (!added) return TokenText(tokenizer, ids);
  TokenText text(tokenizer, ids.subspan(1));
  text.ends_.insert(text.ends_.begin(), 0);
  return text;
}

ByteRange TokenText::BytesOf(int begin, int end) const {
  return {begin == 0 ? 0 : ends_[begin - 1], end == 0 ? 0 : ends_[end - 1]};
}

std::string TokenText::TextOf(int begin, int end) const {
  const ByteRange range = BytesOf(begin, end);
  std::string text;
  LossyUtf8Decoder decoder;
  decoder.Push(std::string_view(bytes_).substr(range.begin, range.end - range.begin), &text);
  decoder.Flush(&text);
  return text;
}

}  // namespace skv::text
