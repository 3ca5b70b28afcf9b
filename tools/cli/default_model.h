#pragma once
// The default model: where `skv model fetch` puts it and the other commands look for it.

namespace skv::cli {

inline constexpr char kDefaultModelPath[] = "models/SmolLM2-135M-Instruct.Q4_1.gguf";

}  // namespace skv::cli
