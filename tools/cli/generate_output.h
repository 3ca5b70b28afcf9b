#pragma once
// How `skv generate` and `skv explain` show what came of a request.

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "tools/cli/generate_flags.h"
#include "tools/cli/text_source.h"

namespace skv::cli {

// Generates, and prints the text to standard output as it comes, unless options.json. `text`
// becomes all of it.
absl::StatusOr<GenerateSummary> Stream(const GenerateFlags& options, TextSource* source,
                                       std::string* text);

nlohmann::ordered_json ToJson(const std::string& text, const GenerateSummary& summary);

// One line on standard error: counts, times, what was read.
void PrintSummary(const GenerateSummary& summary);

}  // namespace skv::cli
