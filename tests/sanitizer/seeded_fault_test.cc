// A fault in a process that a test starts must fail the test, with the options and suppressions
// under which tests run.

#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"
#include "tests/e2e/testing/cluster.h"

namespace skv::e2e {
namespace {

bool BuiltWith(const std::string& sanitizer) {
  return std::string(SKV_SANITIZE).find(sanitizer) != std::string::npos;
}

void RunFault(const std::string& fault) {
  Program program("skv-seeded-fault", {fault});
  EXPECT_TRUE(program.child().Wait(std::chrono::seconds(60)).has_value());
}

TEST(SeededFaultTest, ReportOfAChildFailsTheTest) {
  if (BuiltWith("address")) {
    EXPECT_NONFATAL_FAILURE(RunFault("overflow"), "heap-buffer-overflow");
    EXPECT_NONFATAL_FAILURE(RunFault("leak"), "detected memory leaks");
  }
  if (BuiltWith("undefined")) {
    EXPECT_NONFATAL_FAILURE(RunFault("undefined"), "runtime error: signed integer overflow");
  }
  if (BuiltWith("thread")) EXPECT_NONFATAL_FAILURE(RunFault("race"), "data race");
}

TEST(SeededFaultTest, ChildWithoutAFaultFailsNothing) { RunFault("none"); }

}  // namespace
}  // namespace skv::e2e
