#pragma once
// One line on the terminal that says how far a command is. Nothing where stderr is no terminal.
// Not thread-safe.

#include <cstdint>
#include <string>
#include <string_view>

namespace skv::cli {

// "[#####.....]  50 %", of which `done` may pass `total`; empty where `total` is 0.
std::string ProgressBar(uint64_t done, uint64_t total);

class ProgressLine {
 public:
  ProgressLine();
  // The line is empty again.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  bool is_shown() const { return is_shown_; }
  // In place of what it said before.
  void Show(std::string_view text) const;

 private:
  const bool is_shown_;
};

}  // namespace skv::cli
