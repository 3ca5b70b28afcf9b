#pragma once
// Short names by which ranks and groups agree that they serve the same model, and caches that their
// bytes come from it.

#include <array>
#include <cstdint>
#include <string>

#include "text/tokenizer_spec.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/llama_config.h"

namespace skv::loader {

using Fingerprint = std::array<uint8_t, 16>;

// SHA-256, cut to 128 bits, of the configuration and of every tensor's name, type, shape and bytes,
// in the order of names: where a tensor lies in the file, and metadata that does not enter the
// computation, make no difference. Reads the whole file once (0.1 s per 100 MB) and drops its
// pages.
Fingerprint WeightsFingerprint(const GgufFile& file, const LlamaConfig& config);

// The same for everything that a client can see of the model: `weights` and each field of the
// tokenizer, the chat template included.
Fingerprint ModelFingerprint(const Fingerprint& weights, const text::TokenizerSpec& tokenizer);

// 32 hexadecimal digits.
std::string ToHex(const Fingerprint& fingerprint);

}  // namespace skv::loader
