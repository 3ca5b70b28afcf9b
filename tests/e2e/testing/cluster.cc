#include "tests/e2e/testing/cluster.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/status.h"
#include "gtest/gtest.h"
#include "tests/e2e/testing/sanitizer_report.h"

namespace skv::e2e {
namespace {

using std::chrono::milliseconds;

bool IsFree(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // As servers do: connections of a cluster that has just ended do not count.
  const int reuse = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return free;
}

// Takes a name of the kernel's that stands for these ports, for as long as this process lives.
bool Reserve(int base_port) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // A leading zero byte: a name without a file.
  const std::string name = absl::StrCat("skv-test-ports-", base_port);
  name.copy(address.sun_path + 1, name.size());
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return true;
  close(fd);
  return false;
}

// Of a few blocks of ports, far apart, that no other process of these tests has: more than a test
// uses at once.
std::vector<int> ReserveBases() {
  // Below the range from which the kernel gives out ports.
  constexpr int kFirst = 10'000, kStep = 200, kCount = 100;
  constexpr size_t kEnough = 6;
  std::vector<int> bases;
  for (int i = 0; i < kCount && bases.size() < kEnough; ++i) {
    const int base = kFirst + (getpid() + i) % kCount * kStep;
    if (Reserve(base)) bases.push_back(base);
  }
  SKV_CHECK(!bases.empty()) << "other test programs have all ports from " << kFirst << " on";
  return bases;
}

std::string MakeTempPath(const std::string& name) {
  static int next = 0;
  return (std::filesystem::temp_directory_path() /
          absl::StrCat("skv_", name, "_", getpid(), "_", next++))
      .string();
}

// The line that `skv cluster up --json` prints when it is ready; empty while there is none.
std::string FindJson(const std::string& output) {
  for (const absl::string_view line : absl::StrSplit(output, '\n')) {
    if (!line.empty() && line.front() == '{' && line.back() == '}') return std::string(line);
  }
  return "";
}

}  // namespace

std::string BinaryPath(const std::string& name) {
  const char* const folder = std::getenv("SKV_BIN");
  return absl::StrCat(folder != nullptr ? folder : SKV_BIN_DIR, "/", name);
}

loader::TinyLlamaOptions TinyModelOptions() {
  loader::TinyLlamaOptions options;
  options.hidden = 128;
  options.head_dim = 32;
  options.ffn = 256;  // two ranks share it by segments of 128
  options.context_length = 1 << 16;
  return options;
}

int FindFreePorts() {
  static const std::vector<int> bases = ReserveBases();
  static size_t next = 0;
  while (true) {
    const int base = bases[next++ % bases.size()];
    bool all_free = true;
    for (const int offset : {0, 1, 2, 30, 31, 130, 131, 132, 133}) {
      all_free = all_free && IsFree(base + offset);
    }
    if (all_free) return base;
  }
}

bool IsRunning(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string stat;
  if (!std::getline(file, stat)) return false;
  const size_t name_end = stat.rfind(") ");  // "pid (name) state ..."
  return name_end != std::string::npos && stat[name_end + 2] != 'Z' && stat[name_end + 2] != 'X';
}

Program::Program(const std::string& name, const std::vector<std::string>& arguments)
    : name_(name), log_path_(MakeTempPath(name)) {
  ChildOptions options{.args = {BinaryPath(name)}, .log_path = log_path_};
  options.args.insert(options.args.end(), arguments.begin(), arguments.end());
  absl::StatusOr<std::unique_ptr<ScopedChild>> child = ScopedChild::Start(options);
  SKV_CHECK(child.ok()) << child.status().ToString();
  child_ = *std::move(child);
}

Program::~Program() {
  child_.reset();
  ExpectNoSanitizerReport(name_, Output());
  unlink(log_path_.c_str());
}

std::string Program::Output() const { return ReadFile(log_path_); }

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Start(const ClusterOptions& options) {
  auto cluster = std::unique_ptr<Cluster>(new Cluster);
  cluster->model_ = std::make_unique<loader::TinyLlamaFile>(TinyModelOptions());
  cluster->log_dir_ = MakeTempPath("logs");
  std::vector<std::string> arguments = {
      "cluster",
      "up",
      "--json",
      "--groups",
      absl::StrCat(options.num_groups),
      "--tp",
      absl::StrCat(options.tensor_parallel_size),
      "--model",
      cluster->model_->path(),
      "--port",
      absl::StrCat(FindFreePorts()),
      "--log-dir",
      cluster->log_dir_,
      "--threads",
      "1",
      absl::StrCat("--router-flag=--stall-timeout-secs=", options.stall_timeout_secs)};
  arguments.insert(arguments.end(), options.flags.begin(), options.flags.end());
  cluster->program_ = std::make_unique<Program>("skv", arguments);
  std::string json;
  const bool ready = Eventually([&] {
    json = FindJson(cluster->Output());
    return !json.empty() || cluster->supervisor().Wait(milliseconds(0)).has_value();
  });
  if (!ready) return absl::DeadlineExceededError("the cluster is not ready after 120 s");
  if (json.empty()) return absl::UnavailableError(cluster->Output());
  SKV_RETURN_IF_ERROR(cluster->Adopt(json));
  return cluster;
}

absl::Status Cluster::Adopt(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InternalError(absl::StrCat("no JSON: ", text));
  endpoint_ = json.value("endpoint", "");
  for (const auto& process : json["processes"]) {
    const std::string url = process.value("metrics", "");  // http://host:port/metrics
    processes_.push_back({process.value("name", ""), std::atoi(&url[url.rfind(':') + 1])});
  }
  channel_ = eval::ConnectTo(endpoint_);
  return absl::OkStatus();
}

Cluster::~Cluster() {
  if (program_ != nullptr) Stop();
  std::error_code ignored;
  for (const auto& log : std::filesystem::directory_iterator(log_dir_, ignored)) {
    ExpectNoSanitizerReport(log.path().filename().string(), ReadFile(log.path()));
  }
  std::filesystem::remove_all(log_dir_, ignored);
}

void Cluster::Stop() {
  supervisor().Signal(SIGTERM);
  const std::optional<ExitState> end = supervisor().Wait(kPatience);
  if (!end) ADD_FAILURE() << "the cluster does not end: " << Output();
  program_.reset();
}

int Cluster::AdminPort(const std::string& name) const {
  for (const eval::ProcessEndpoint& process : processes_) {
    if (process.name == name) return process.admin_port;
  }
  SKV_CHECK(false) << "no process is called " << name;
  return 0;
}

double Cluster::Metric(const std::string& name, std::string_view metric,
                       std::string_view label) const {
  const auto values = eval::ScrapeMetrics(AdminPort(name));
  return values.ok() ? eval::SumOf(*values, metric, label).value_or(0) : 0;
}

pid_t Cluster::Pid(const std::string& name) const {
  return static_cast<pid_t>(Metric(name, "skv_process_pid"));
}

bool Cluster::Serves() const {
  const eval::StreamResult result = eval::Call(channel_, TextRequest("Hello", 4), kPatience);
  return result.status.ok() && result.tokens.size() == 4;
}

v1::GenerateRequest TextRequest(const std::string& text, int max_tokens) {
  v1::GenerateRequest request;
  request.set_text(text);
  request.set_max_tokens(max_tokens);
  request.set_temperature(0);
  request.set_ignore_eos(true);
  return request;
}

v1::GenerateRequest EndlessRequest() { return TextRequest("Once upon a time", 60'000); }

}  // namespace skv::e2e
