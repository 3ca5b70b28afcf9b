#include "common/log.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "common/mutex.h"

namespace skv {
namespace {

LogLevel LevelFromEnvironment() {
  const char* text = std::getenv("SKV_LOG_LEVEL");
  if (text == nullptr) return LogLevel::INFO;
  const std::string_view name(text);
  if (name == "debug") return LogLevel::DEBUG;
  if (name == "warning") return LogLevel::WARNING;
  if (name == "error") return LogLevel::ERROR;
  return LogLevel::INFO;
}

std::atomic<LogLevel>& Level() {
  static std::atomic<LogLevel> level{LevelFromEnvironment()};
  return level;
}

Mutex name_mutex;
std::string& Name() {
  static auto* name = new std::string("skv");  // never destroyed: threads log until the very end
  return *name;
}

std::string Prefix(LogLevel level) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  tm local;
  localtime_r(&now.tv_sec, &local);
  char text[32];
  snprintf(text, sizeof(text), "%c %02d:%02d:%02d.%03ld ", "DIWEF"[static_cast<int>(level)],
           local.tm_hour, local.tm_min, local.tm_sec, now.tv_nsec / 1000000);
  MutexLock lock(&name_mutex);
  return text + Name() + " ";
}

}  // namespace

void SetLogLevel(LogLevel level) { Level() = level; }
bool ShouldLog(LogLevel level) { return level >= Level().load(std::memory_order_relaxed); }

void SetLogName(std::string_view name) {
  MutexLock lock(&name_mutex);
  Name() = std::string(name);
}

LogRecord::LogRecord(LogLevel level, const char* file, int line) : level_(level) {
  stream_ << Prefix(level);
  if (level >= LogLevel::ERROR) stream_ << file << ":" << line << " ";
}

LogRecord::~LogRecord() {
  stream_ << "\n";
  const std::string text = stream_.str();
  // One write a record, so that records of different threads and processes never mix.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
  if (level_ == LogLevel::FATAL) std::abort();
}

bool PassesEverySeconds(std::atomic<int64_t>* state, int seconds) {
  const int64_t now = std::chrono::duration_cast<std::chrono::seconds>(
                          std::chrono::steady_clock::now().time_since_epoch())
                          .count() +
                      1;
  int64_t last = state->load();
  return (last == 0 || now - last >= seconds) && state->compare_exchange_strong(last, now);
}

}  // namespace skv
