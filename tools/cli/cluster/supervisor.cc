#include "tools/cli/cluster/supervisor.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::cli {
namespace {

constexpr int kMaxFailures = 5;
constexpr auto kFirstPause = std::chrono::milliseconds(300);
constexpr auto kJustLook = std::chrono::milliseconds(0);

// What the process said before it ended.
std::string LastLine(const std::string& log_path) {
  std::ifstream file(log_path);
  std::string last;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

// A second cluster would take the first one's processes for its own.
absl::Status CheckPortIsFree(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // As servers do: connections of a cluster that has just ended do not count.
  const int reuse = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  const bool in_use =
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 && errno == EADDRINUSE;
  close(fd);
  if (!in_use) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("port ", port, " is in use; stop what listens there or choose another --port"));
}

}  // namespace

Supervisor::Supervisor(ClusterPlan plan) : plan_(std::move(plan)) {
  units_.push_back({.processes = {plan_.router}});
  for (const auto& group : plan_.groups) units_.push_back({.processes = group});
}

Supervisor::~Supervisor() = default;

absl::Status Supervisor::Start() {
  for (const int port : plan_.ports) SKV_RETURN_IF_ERROR(CheckPortIsFree(port));
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
    if (!end) continue;
    const ProcessPlan& process = unit->processes[i];
    SKV_LOG(WARNING) << process.name << " " << end->ToString() << "; see "
                     << process.child.log_path;
    unit->children.clear();  // the rest of the unit is killed
    if (++unit->failures >= kMaxFailures) {
      return absl::UnavailableError(
          absl::StrCat(process.name, " ended ", unit->failures,
                       " times before it was ready, last it ", end->ToString(), "; its log ",
                       process.child.log_path, " ends with: ", LastLine(process.child.log_path)));
    }
    unit->restart_at = RealClock().Now() + kFirstPause * (1 << unit->failures);
    break;
  }
  return absl::OkStatus();
}

bool Supervisor::IsReady() {
  bool all_ready = true;
  for (Unit& unit : units_) {
    bool ready = !unit.children.empty();
    for (const ProcessPlan& process : unit.processes) {
      ready = ready && HttpOk("127.0.0.1", process.admin_port, "/readyz");
    }
    if (ready) unit.failures = 0;
    all_ready = all_ready && ready;
  }
  return all_ready;
}

void Supervisor::Stop(TimePoint deadline) {
  const auto stop = [deadline](auto begin, auto end) {
    for (auto unit = begin; unit != end; ++unit) {
      for (const auto& child : unit->children) child->Signal(SIGTERM);
    }
    for (auto unit = begin; unit != end; ++unit) {
      for (const auto& child : unit->children) {
        child->Wait(std::chrono::duration_cast<std::chrono::milliseconds>(
            std::max(Duration::zero(), deadline - RealClock().Now())));
      }
      unit->children.clear();  // killed, if they still run
    }
  };
  stop(units_.begin(), units_.begin() + 1);
  stop(units_.begin() + 1, units_.end());
}

std::vector<pid_t> Supervisor::pids() const {
  std::vector<pid_t> pids;
  for (const Unit& unit : units_) {
    for (const auto& child : unit.children) pids.push_back(child->pid());
  }
  return pids;
}

bool HttpOk(const std::string& host, int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const timeval timeout{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: ", host, "\r\nConnection: close\r\n\r\n");
  char reply[16] = {};
  const bool ok =
      connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) == ssize_t(request.size()) &&
      recv(fd, reply, 12, MSG_WAITALL) == 12 && std::memcmp(reply + 9, "200", 3) == 0;
  close(fd);
  return ok;
}

}  // namespace skv::cli
