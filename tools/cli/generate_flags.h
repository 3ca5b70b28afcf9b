#pragma once
// What `skv generate` and `skv explain` are asked with: what to generate, and where.

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/flags.h"
#include "tools/cli/default_model.h"
#include "tools/cli/text_source.h"

namespace skv::cli {

struct GenerateFlags {
  RemoteOptions remote;
  LocalOptions local{.model_path = kDefaultModelPath};
  GenerateOptions generate;
  std::string file;
  bool raw = false;
  bool json = false;
};

// Declares the flags of a command; `options` outlives it.
void AddGenerateFlags(Flags* flags, GenerateFlags* options);

// What a command reads as a document: a file, or - for stdin. `name` of the flag or argument stands
// in front of errors. NotFound: it cannot be read.
absl::StatusOr<std::string> ReadDocument(std::string_view name, const std::string& path);

// The message that asks about a document, which comes first. Whoever sends the same document again,
// with another prompt, finds it in the cache.
std::string PutBefore(std::string_view document, std::string_view prompt);

// Once the flags are parsed: completes options->generate and opens where the text comes from.
// InvalidArgument: no prompt. NotFound: no such --file. Else errors of the source.
absl::StatusOr<std::unique_ptr<TextSource>> OpenSource(GenerateFlags* options);

}  // namespace skv::cli
