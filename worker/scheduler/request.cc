#include "worker/scheduler/request.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::scheduler {
namespace {

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status ValidateSizes(const Request& request) {
  if (request.sample_ids.empty()) return Invalid("a request has no sample, expected at least 1");
  if (request.prompt_ids.empty()) return Invalid("prompt is empty, expected at least 1 token");
  if (request.max_tokens < 1) {
    return Invalid("max_tokens is ", request.max_tokens, ", expected at least 1");
  }
  if (request.prompt_ids.size() > static_cast<size_t>(std::numeric_limits<int>::max()) -
                                      static_cast<size_t>(request.max_tokens)) {
    return Invalid("prompt (", request.prompt_ids.size(), " tokens) and max_tokens (",
                   request.max_tokens, ") are over 2^31 - 1 together");
  }
  return absl::OkStatus();
}

absl::Status ValidateSentenceEnds(const Request& request) {
  int last = 0;
  for (const int end : request.sentence_ends) {
    if (end <= last || static_cast<size_t>(end) > request.prompt_ids.size()) {
      return Invalid("sentence_ends has ", end, " after ", last, ", expected ", last + 1, " to ",
                     request.prompt_ids.size());
    }
    last = end;
  }
  return absl::OkStatus();
}

absl::Status ValidatePrefix(const Request& request) {
  const int max = static_cast<int>(request.prompt_ids.size()) - 1;
  if (request.max_cached_tokens < 0 || request.max_cached_tokens > max) {
    return Invalid("max_cached_tokens is ", request.max_cached_tokens, ", expected 0 to ", max);
  }
  if (request.max_cached_tokens > 0 && !request.prefix_root.has_value()) {
    return Invalid("max_cached_tokens is ", request.max_cached_tokens,
                   " without a prefix_root, expected 0");
  }
  return absl::OkStatus();
}

absl::Status ValidateResume(const Request& request) {
  if (!request.resume_ids.empty() && request.sample_ids.size() > 1) {
    return Invalid("resume_ids with ", request.sample_ids.size(), " samples, expected one sample");
  }
  if (request.resume_ids.size() >= static_cast<size_t>(request.max_tokens)) {
    return Invalid("resume_ids has ", request.resume_ids.size(),
                   " tokens, expected fewer than max_tokens, ", request.max_tokens);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const Request& request) {
  SKV_RETURN_IF_ERROR(ValidateSizes(request));
  SKV_RETURN_IF_ERROR(ValidateSentenceEnds(request));
  SKV_RETURN_IF_ERROR(ValidatePrefix(request));
  SKV_RETURN_IF_ERROR(ValidateResume(request));
  return policy::Validate(request.policy);
}

}  // namespace skv::scheduler
