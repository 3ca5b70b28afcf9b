#pragma once
// Asks an admin port, as an operator's tools do.

#include <chrono>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace skv {

// The body that http://host:port/path answers with; `host` is an IPv4 address. Unavailable: nobody
// answers within `timeout`, or with another status than 200; the message says which.
absl::StatusOr<std::string> HttpGet(const std::string& host, int port, std::string_view path,
                                    std::chrono::milliseconds timeout);

}  // namespace skv
