#include "text/detokenizer.h"

namespace skv::text {

std::string IncrementalDetokenizer::Push(TokenId id) {
  std::string text;
  if (options_.include_control || !tokenizer_->IsControl(id)) {
    decoder_.Push(tokenizer_->TokenBytes(id), &text);
  }
  return text;
}

std::string IncrementalDetokenizer::Flush() {
  std::string text;
  decoder_.Flush(&text);
  return text;
}

}  // namespace skv::text
