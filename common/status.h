#pragma once
// Status macros and helpers. Errors travel as absl::Status across module boundaries; each layer
// adds its context once with Annotate, and what is returned is not also logged.

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace skv {

// Debian's absl::string_view is not std::string_view: the one place that converts.
inline absl::string_view Sv(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view StdSv(absl::string_view text) { return {text.data(), text.size()}; }

// The same code with "context: " before the message; OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view context);

}  // namespace skv
// NOLINTBEGIN(bugprone-macro-parentheses): what is declared cannot stand in parentheses
#define SKV_STATUS_CONCAT_INNER(a, b) a##b
#define SKV_STATUS_CONCAT(a, b) SKV_STATUS_CONCAT_INNER(a, b)

// Returns from the enclosing function when `expr` is not OK.
#define SKV_RETURN_IF_ERROR(expr)                                              \
  do {                                                                         \
    if (absl::Status skv_status = (expr); !skv_status.ok()) return skv_status; \
  } while (false)

// SKV_ASSIGN_OR_RETURN(const Header header, ReadHeader(source));
#define SKV_ASSIGN_OR_RETURN(lhs, expr) \
  SKV_ASSIGN_OR_RETURN_IMPL(SKV_STATUS_CONCAT(skv_status_or_, __LINE__), lhs, expr)
#define SKV_ASSIGN_OR_RETURN_IMPL(status_or, lhs, expr) \
  auto status_or = (expr);                              \
  if (!status_or.ok()) return status_or.status();       \
  lhs = std::move(status_or).value()
// NOLINTEND(bugprone-macro-parentheses)
