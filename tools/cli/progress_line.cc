#include "tools/cli/progress_line.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "absl/strings/str_format.h"

namespace skv::cli {
namespace {

constexpr uint64_t kBarWidth = 30;
constexpr std::string_view kClearLine = "\r\x1b[K";

}  // namespace

std::string ProgressBar(uint64_t done, uint64_t total) {
  if (total == 0) return "";
  const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto num_full = static_cast<size_t>(share * kBarWidth);
  return absl::StrFormat("[%s%s] %3.0f %%", std::string(num_full, '#'),
                         std::string(kBarWidth - num_full, '.'), 100 * share);
}

ProgressLine::ProgressLine() : is_shown_(isatty(STDERR_FILENO) != 0) {}

ProgressLine::~ProgressLine() {
  if (is_shown_) std::cerr << kClearLine << std::flush;
}

void ProgressLine::Show(std::string_view text) const {
  if (is_shown_) std::cerr << kClearLine << text << std::flush;
}

}  // namespace skv::cli
