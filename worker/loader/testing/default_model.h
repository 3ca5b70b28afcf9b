#pragma once
// Where the tests that need a real model find it.

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace skv::loader {

// $SKV_MODEL, or models/SmolLM2-135M-Instruct.Q4_1.gguf below the current folder, which is where
// `skv model fetch` puts it. NotFound, saying so, when there is no such file: a test fails then.
inline absl::StatusOr<std::string> DefaultModelPath() {
  const char* variable = std::getenv("SKV_MODEL");
  const std::string path =
      variable != nullptr ? variable : "models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (std::filesystem::exists(path)) return path;
  return absl::NotFoundError(
      absl::StrCat("model ", path, " is missing; run 'skv model fetch' or set SKV_MODEL"));
}

}  // namespace skv::loader
