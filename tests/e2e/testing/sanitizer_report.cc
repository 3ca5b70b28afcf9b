#include "tests/e2e/testing/sanitizer_report.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "gtest/gtest.h"

namespace skv::e2e {
namespace {

constexpr size_t kMaxShown = 8000;
constexpr std::string_view kBeginnings[] = {"ERROR: AddressSanitizer", "ERROR: LeakSanitizer",
                                            "WARNING: ThreadSanitizer", "FATAL: ThreadSanitizer",
                                            ": runtime error: "};

}  // namespace

std::string_view FindSanitizerReport(std::string_view output) {
  size_t begin = output.size();
  for (const std::string_view text : kBeginnings) begin = std::min(begin, output.find(text));
  if (begin == output.size()) return {};
  return output.substr(output.rfind('\n', begin) + 1);
}

void ExpectNoSanitizerReport(std::string_view name, std::string_view output) {
  const std::string_view report = FindSanitizerReport(output);
  if (!report.empty()) ADD_FAILURE() << name << " printed:\n" << report.substr(0, kMaxShown);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace skv::e2e
