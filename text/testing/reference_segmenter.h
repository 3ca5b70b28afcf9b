#pragma once
// The rules of text/sentence_segmenter.h a second time, slow and clear: each boundary anew, by
// looking back over the whole decoded text.

#include <vector>

#include "absl/types/span.h"
#include "text/tokenizer_spec.h"

namespace skv::text {

// What SentenceEnds gives. Time O(n^2). REQUIRES: Validate(spec) is OK.
std::vector<int> ReferenceSentenceEnds(const TokenizerSpec& spec, absl::Span<const int> tokens);

}  // namespace skv::text
