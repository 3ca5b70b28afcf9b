#pragma once
// The options of `sentencekv` that studies vary (worker/policy/sentencekv_options.h), as text:
//   digest=cuboid_mean|mean  boundary=carry|local|full  reduction=max|mean|score
//   found=1..64  expected=0..1  least=0..1  rank=sketches|keys  prompt_queries=0..4096
//   query=blend|mean

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "worker/policy/sentencekv_options.h"

namespace skv::eval {

// InvalidArgument says which keys and values there are.
absl::Status SetOption(std::string_view key, std::string_view value,
                       policy::SentenceKvOptions* options);

// Those that are not the default, in the order above: "/digest=mean/found=1".
std::string OptionsSuffix(const policy::SentenceKvOptions& options);

}  // namespace skv::eval
