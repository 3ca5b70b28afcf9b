#pragma once
// One line a record on standard error: "I 12:00:00.123 worker[0] message". Thread-safe.
//   SKV_LOG(INFO) << "step " << idx;       SKV_LOG_EVERY_SECONDS(WARNING, 10) << "store
//   unreachable";
// SKV_CHECK guards our own invariants only, never input from network, file, flag or peer.

#include <atomic>
#include <cstdint>
#include <sstream>
#include <string_view>

namespace skv {

enum class LogLevel { DEBUG = 0, INFO = 1, WARNING = 2, ERROR = 3, FATAL = 4 };

// Records below `level` are dropped. Default INFO, or the environment's SKV_LOG_LEVEL.
void SetLogLevel(LogLevel level);
bool ShouldLog(LogLevel level);
// Names this process in every record, e.g. "worker[1]".
void SetLogName(std::string_view name);

class LogRecord {
 public:
  LogRecord(LogLevel level, const char* file, int line);
  ~LogRecord();  // writes the record; aborts the process after FATAL
  std::ostream& stream() { return stream_; }

 private:
  const LogLevel level_;
  std::ostringstream stream_;
};

// True at most once in `seconds` for each `state`.
bool PassesEverySeconds(std::atomic<int64_t>* state, int seconds);

}  // namespace skv

#define SKV_LOG(level)                             \
  if (!::skv::ShouldLog(::skv::LogLevel::level)) { \
  } else                                           \
    ::skv::LogRecord(::skv::LogLevel::level, __FILE__, __LINE__).stream()

#define SKV_LOG_EVERY_SECONDS(level, seconds)                \
  if (static ::std::atomic<int64_t> skv_log_state{0};        \
      !::skv::ShouldLog(::skv::LogLevel::level) ||           \
      !::skv::PassesEverySeconds(&skv_log_state, seconds)) { \
  } else                                                     \
    ::skv::LogRecord(::skv::LogLevel::level, __FILE__, __LINE__).stream()

#define SKV_CHECK(condition)                                              \
  if (condition) {                                                        \
  } else                                                                  \
    ::skv::LogRecord(::skv::LogLevel::FATAL, __FILE__, __LINE__).stream() \
        << "check failed: " #condition " "
