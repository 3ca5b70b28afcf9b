#include "bench/hostile/store_process.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/clock.h"
#include "common/http_get.h"
#include "common/status.h"

namespace skv::hostile {
namespace {

constexpr std::chrono::seconds kPatience{120};
constexpr std::string_view kMetricsAt = "metrics on http://127.0.0.1:";

}  // namespace

absl::StatusOr<std::unique_ptr<StoreProcess>> StoreProcess::Start(
    const std::string& program, const std::vector<std::string>& flags) {
  char name[] = "/tmp/skv_hostile_XXXXXX";
  if (mkdtemp(name) == nullptr) return absl::InternalError("/tmp: cannot make a folder there");
  std::unique_ptr<StoreProcess> store(new StoreProcess(name));
  ChildOptions options{.args = {program, "--socket", store->socket()},
                       .log_path = store->folder_ + "/log"};
  options.args.insert(options.args.end(), flags.begin(), flags.end());
  SKV_ASSIGN_OR_RETURN(store->process_, ScopedChild::Start(options));
  const TimePoint end = RealClock().Now() + kPatience;
  while (store->admin_port_ == 0) {
    const bool is_running = store->is_running();
    const std::string output = store->Output();
    const size_t at = output.find(kMetricsAt);
    if (at != std::string::npos && absl::StrContains(output, "/metrics\n")) {
      store->admin_port_ = std::atoi(output.c_str() + at + kMetricsAt.size());
    } else if (!is_running || RealClock().Now() > end) {
      return absl::UnavailableError(absl::StrCat(program, " does not serve: ", output));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return store;
}

StoreProcess::~StoreProcess() {
  process_.reset();
  std::filesystem::remove_all(folder_);
}

std::string StoreProcess::Output() const {
  std::ifstream file(folder_ + "/log", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

absl::StatusOr<std::map<std::string, double>> StoreProcess::Metrics() const {
  SKV_ASSIGN_OR_RETURN(const std::string body,
                       HttpGet("127.0.0.1", admin_port_, "/metrics", std::chrono::seconds(20)));
  std::map<std::string, double> metrics;
  for (const absl::string_view line : absl::StrSplit(body, '\n')) {
    if (!absl::StartsWith(line, "skv_")) continue;
    const size_t space = line.rfind(' ');
    double value = 0;
    if (space == absl::string_view::npos || !absl::SimpleAtod(line.substr(space + 1), &value)) {
      return absl::InternalError(absl::StrCat("metrics: '", line, "' is not a series"));
    }
    metrics[absl::StrReplaceAll(
        line.substr(0, space),
        {{"skv_kvstore_", ""}, {"{role=\"kvstore\"}", ""}, {"role=\"kvstore\",", ""}})] = value;
  }
  return metrics;
}

absl::Status StoreProcess::Stop() {
  process_->Terminate();
  const std::optional<ExitState> end = process_->Wait(kPatience);
  const std::string output = Output();
  if (!end.has_value()) return absl::InternalError("skv-kvstore: did not end in two minutes");
  if (!end->ok()) {
    return absl::InternalError(absl::StrCat("skv-kvstore: ", end->ToString(), ": ", output));
  }
  for (const char* report : {"WARNING: ThreadSanitizer", "ERROR: AddressSanitizer",
                             "ERROR: LeakSanitizer", "runtime error:"}) {
    if (const size_t at = output.find(report); at != std::string::npos) {
      return absl::InternalError(absl::StrCat("skv-kvstore: ", output.substr(at, 4000)));
    }
  }
  return absl::OkStatus();
}

}  // namespace skv::hostile
