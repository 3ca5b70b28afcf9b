#pragma once
// Synthetic traces of prompts as the store sees them: chains of sentences that share prefixes.
// Equal seeds give equal traces.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace skv::bench {

constexpr uint32_t kNoSentence = UINT32_MAX;
constexpr int64_t kTokenBytes = 46080;  // K and V of SmolLM2-135M in bf16: 30 x 3 x 64 x 2 x 2

// A sentence under its prefix.
struct Sentence {
  uint32_t parent = kNoSentence;
  uint32_t depth = 0;  // sentences before it
  int64_t bytes = 0;
};

struct Trace {
  std::string name;
  std::vector<Sentence> sentences;  // each after its parent; some may never be asked for
  std::vector<uint32_t> requests;   // the last sentence of each prompt, in order of time

  int64_t FootprintBytes() const;  // of the sentences asked for
  // The sentences of the prompt that ends with `tip`, in order.
  std::vector<uint32_t> ChainOf(uint32_t tip) const;
};

// chat              conversations in turns, each with all before it; 8 system prompts
// shared-documents  questions of one use each about documents of Zipf 0.9 popularity
// zipf-0.7          independent prompts by Zipf popularity
// zipf-1.0
// scan-zipf         zipf-1.0, and as many long prompts of one use each
// loop              independent prompts, round and round
std::vector<std::string_view> TraceNames();

// REQUIRES: `name` is one of TraceNames(). About 300,000 x `scale` sentences are asked for.
Trace MakeTrace(std::string_view name, uint64_t seed, double scale);

}  // namespace skv::bench
