#pragma once
// A model file's tokenizer as plain data.

#include "absl/status/statusor.h"
#include "text/tokenizer_spec.h"
#include "worker/loader/gguf_file.h"

namespace skv::loader {

// Reads the file's tokenizer.* keys into a spec that text::Validate accepts; the strings are
// copies. NotFound: the file has no tokenizer. DataLoss: a key of the wrong type, or a vocabulary
// that is malformed or not as large as the embedding. Unimplemented: a tokenizer that text/ does
// not have. Errors name the file and the key or entry.
absl::StatusOr<text::TokenizerSpec> ReadTokenizerSpec(const GgufFile& file);

}  // namespace skv::loader
