#pragma once
// EXPECT_OK(status), ASSERT_OK_AND_ASSIGN(lhs, status_or), EXPECT_THAT(status, StatusIs(code,
// matcher)).

#include <string>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv {

inline absl::Status ToStatus(const absl::Status& status) { return status; }
template <typename T>
absl::Status ToStatus(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

MATCHER_P2(StatusIs, code, message_matcher, "") {
  const absl::Status status = ToStatus(arg);
  *result_listener << status.ToString();
  return status.code() == code &&
         testing::ExplainMatchResult(message_matcher, std::string(status.message()),
                                     result_listener);
}

}  // namespace skv

#define EXPECT_OK(expr) EXPECT_EQ(skv::ToStatus(expr), absl::OkStatus())
#define ASSERT_OK(expr) ASSERT_EQ(skv::ToStatus(expr), absl::OkStatus())
#define SKV_TEST_CONCAT_INNER(a, b) a##b
#define SKV_TEST_CONCAT(a, b) SKV_TEST_CONCAT_INNER(a, b)
// NOLINTBEGIN(bugprone-macro-parentheses): what is declared cannot stand in parentheses
#define ASSERT_OK_AND_ASSIGN(lhs, expr) \
  ASSERT_OK_AND_ASSIGN_IMPL(SKV_TEST_CONCAT(skv_status_or_, __LINE__), lhs, expr)
#define ASSERT_OK_AND_ASSIGN_IMPL(status_or, lhs, expr) \
  auto status_or = (expr);                              \
  ASSERT_EQ(status_or.status(), absl::OkStatus());      \
  lhs = std::move(status_or).value()
// NOLINTEND(bugprone-macro-parentheses)
