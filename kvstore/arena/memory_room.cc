#include "kvstore/arena/memory_room.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<uint64_t> ReadNumber(const std::string& path) {
  uint64_t number = 0;
  if (absl::SimpleAtoi(ReadFile(path), &number)) return number;
  return std::nullopt;
}

// The number behind `name` on its line of `text`.
std::optional<uint64_t> FindNumber(const std::string& text, std::string_view name) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string word;
    uint64_t number = 0;
    if (words >> word >> number && word == name) return number;
  }
  return std::nullopt;
}

// "/a/b" of the line "0::/a/b"; "" where there is no cgroup of version 2.
std::string CgroupOf(const std::string& root) {
  std::istringstream lines(ReadFile(root + "/proc/self/cgroup"));
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind("0::/", 0) == 0) return line.substr(3);
  }
  return "";
}

std::optional<uint64_t> CgroupRoom(const std::string& folder) {
  const auto max = ReadNumber(folder + "/memory.max");
  const auto current = ReadNumber(folder + "/memory.current");
  if (!max || !current) return std::nullopt;
  const uint64_t droppable =
      FindNumber(ReadFile(folder + "/memory.stat"), "inactive_file").value_or(0);
  const uint64_t used = *current - std::min(*current, droppable);
  return *max - std::min(*max, used);
}

}  // namespace

absl::StatusOr<MemoryRoom> ReadMemoryRoom(const std::string& root) {
  const auto available_kib = FindNumber(ReadFile(root + "/proc/meminfo"), "MemAvailable:");
  if (!available_kib) {
    return absl::UnavailableError(absl::StrCat(root, "/proc/meminfo: has no MemAvailable"));
  }
  MemoryRoom room = {*available_kib << 10, "MemAvailable of /proc/meminfo"};
  // In a container the path is often "/", whose files are the container's own.
  std::string cgroup = CgroupOf(root);
  while (!cgroup.empty()) {
    if (cgroup.back() == '/') cgroup.pop_back();
    const std::string folder = "/sys/fs/cgroup" + cgroup;
    const auto num_bytes = CgroupRoom(root + folder);
    if (num_bytes && *num_bytes < room.num_bytes) room = {*num_bytes, folder};
    cgroup.resize(cgroup.empty() ? 0 : cgroup.rfind('/') + 1);
  }
  return room;
}

}  // namespace skv::kvstore
