#include "tools/cli/cluster/supervisor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/http_get.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::cli {
namespace {

constexpr int kMaxFailures = 5;
constexpr auto kFirstPause = std::chrono::milliseconds(300);
constexpr auto kJustLook = std::chrono::milliseconds(0);
constexpr auto kStopPoll = std::chrono::milliseconds(50);
constexpr auto kProbeTimeout = std::chrono::seconds(1);

// What the process said before it ended.
std::string LastLine(const std::string& log_path) {
  std::ifstream file(log_path);
  std::string last;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

void LogEnd(const ProcessPlan& process, const ExitState& end) {
  SKV_LOG(WARNING) << process.name << " " << end.ToString() << "; see " << process.child.log_path;
}

// Of a process that was told to end.
void LogBadEnd(const ProcessPlan& process, const std::optional<ExitState>& end) {
  if (!end) {
    SKV_LOG(WARNING) << process.name << " has not ended in time: killed";
  } else if (!end->ok()) {
    LogEnd(process, *end);
  }
}

// A second cluster would take the first one's processes for its own.
absl::Status CheckPortIsFree(const PlannedPort& port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // As servers do: connections of a cluster that has just ended do not count.
  const int reuse = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port.port));
  inet_pton(AF_INET, port.host.c_str(), &address.sin_addr);
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  const int error = bound ? 0 : errno;
  close(fd);
  if (error == 0) return absl::OkStatus();
  const std::string name = absl::StrCat(port.host, " port ", port.port, " (", port.owner, ")");
  if (error == EADDRINUSE) {
    return absl::UnavailableError(absl::StrCat(
        name, " is in use; stop what listens there, or give --port: it moves all ports"));
  }
  if (error == EADDRNOTAVAIL) {
    return absl::InvalidArgumentError(
        absl::StrCat("--host ", port.host,
                     ": this machine has no such address; `ip address` "
                     "shows those that it has, 0.0.0.0 is all of them"));
  }
  return absl::ErrnoToStatus(error,
                             absl::StrCat(name, ": cannot be listened on; give another --port"));
}

// Ready, and `pid` itself: another process may have taken the port.
bool AnswersReady(const ProcessPlan& process, pid_t pid) {
  const auto get = [&process](std::string_view path) {
    return HttpGet(process.admin_host, process.admin_port, path, kProbeTimeout);
  };
  if (!get("/readyz").ok()) return false;
  const absl::StatusOr<std::string> version = get("/version");
  if (!version.ok()) return false;
  const auto json = nlohmann::json::parse(*version, nullptr, /*allow_exceptions=*/false);
  return json.is_object() && json.contains("pid") && json["pid"] == pid;
}

}  // namespace

Supervisor::Supervisor(ClusterPlan plan) : plan_(std::move(plan)) {
  units_.push_back({.processes = {plan_.router}});
  for (const auto& group : plan_.groups) units_.push_back({.processes = group});
  if (plan_.kvstore) units_.push_back({.processes = {*plan_.kvstore}});
}

Supervisor::~Supervisor() = default;

absl::Status Supervisor::Start() {
  for (const PlannedPort& port : plan_.ports) SKV_RETURN_IF_ERROR(CheckPortIsFree(port));
  for (Unit& unit : units_) SKV_RETURN_IF_ERROR(StartUnit(&unit));
  return absl::OkStatus();
}

absl::Status Supervisor::StartUnit(Unit* unit) {
  unit->children.clear();
  for (const ProcessPlan& process : unit->processes) {
    SKV_ASSIGN_OR_RETURN(auto child, ScopedChild::Start(process.child));
    unit->children.push_back(std::move(child));
  }
  return absl::OkStatus();
}

absl::Status Supervisor::Watch() {
  for (Unit& unit : units_) SKV_RETURN_IF_ERROR(WatchUnit(&unit));
  return absl::OkStatus();
}

absl::Status Supervisor::WatchUnit(Unit* unit) {
  if (unit->children.empty()) {
    return RealClock().Now() >= unit->restart_at ? StartUnit(unit) : absl::OkStatus();
  }
  for (size_t i = 0; i < unit->children.size(); ++i) {
    const std::optional<ExitState> end = unit->children[i]->Wait(kJustLook);
    if (end) return NoteEnd(unit, unit->processes[i], *end);
  }
  if (!unit->ready && AllReady(*unit)) {
    unit->ready = true;
    unit->failures = 0;
  }
  return absl::OkStatus();
}

absl::Status Supervisor::NoteEnd(Unit* unit, const ProcessPlan& process, const ExitState& end) {
  LogEnd(process, end);
  unit->children.clear();  // the rest of the unit is killed
  unit->ready = false;
  if (++unit->failures >= kMaxFailures) {
    return absl::UnavailableError(absl::StrCat(process.name, " ended ", unit->failures,
                                               " times before it was ready, last it ",
                                               end.ToString(), "; its log ", process.child.log_path,
                                               " ends with: ", LastLine(process.child.log_path)));
  }
  unit->restart_at = RealClock().Now() + kFirstPause * (1 << unit->failures);
  return absl::OkStatus();
}

bool Supervisor::AllReady(const Unit& unit) const {
  for (size_t i = 0; i < unit.processes.size(); ++i) {
    if (!AnswersReady(unit.processes[i], unit.children[i]->pid())) return false;
  }
  return true;
}

bool Supervisor::IsReady() const {
  return std::all_of(units_.begin(), units_.end(), [](const Unit& unit) { return unit.ready; });
}

void Supervisor::Stop(TimePoint deadline, const std::function<bool()>& hurry) {
  const auto stop = [&](auto begin, auto end) {
    for (auto unit = begin; unit != end; ++unit) {
      for (const auto& child : unit->children) child->Terminate();
    }
    for (auto unit = begin; unit != end; ++unit) {
      for (size_t i = 0; i < unit->children.size(); ++i) {
        ScopedChild& child = *unit->children[i];
        while (!child.Wait(kStopPoll) && RealClock().Now() < deadline) {
          if (hurry()) deadline = RealClock().Now();
        }
        LogBadEnd(unit->processes[i], child.Wait(kJustLook));
      }
      unit->children.clear();
    }
  };
  const auto groups = units_.begin() + 1;
  const auto store = units_.end() - (plan_.kvstore ? 1 : 0);
  stop(units_.begin(), groups);
  stop(groups, store);
  stop(store, units_.end());
}

std::vector<pid_t> Supervisor::pids() const {
  std::vector<pid_t> pids;
  for (const Unit& unit : units_) {
    for (const auto& child : unit.children) pids.push_back(child->pid());
  }
  return pids;
}

}  // namespace skv::cli
