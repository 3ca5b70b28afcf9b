// Every byte string is either refused with InvalidArgument or holds a well-formed case. Seeds:
// tests/fuzz/write_kept_case_corpus.py.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "eval/rivals/kept_case.h"

namespace skv::eval {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void RequireWellFormed(const KeptCase& one) {
  const policy::TestSequence& sequence = one.sequence;
  Require(policy::Validate(one.params).ok());
  Require(sequence.num_tokens >= sequence.shape.num_prompt_tokens && one.max_step >= 1);
  const auto num_keys =
      static_cast<size_t>(sequence.HeadRow(sequence.shape.num_layers, 0)) * sequence.shape.head_dim;
  Require(sequence.keys.size() == num_keys);
  Require(sequence.queries.size() == num_keys * sequence.shape.group_size);
  int end = 0;
  for (const policy::Sentence& sentence : sequence.sentences) {
    Require(sentence.begin == end && sentence.end > end);
    Require(sentence.known_at >= sentence.end - 1);
    end = sentence.end;
  }
}

}  // namespace
}  // namespace skv::eval

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skv::eval;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  while (!rest.empty()) {
    const auto one = TakeCase(&rest);
    if (!one.ok()) {
      Require(one.status().code() == absl::StatusCode::kInvalidArgument);
      return 0;
    }
    RequireWellFormed(*one);
  }
  return 0;
}
