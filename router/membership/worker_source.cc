#include "router/membership/worker_source.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::router {
namespace {

constexpr size_t kMaxWorkers = 4096;

absl::Status CheckAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || colon == 0 || address.find('/') != std::string::npos ||
      !absl::SimpleAtoi(Sv(std::string_view(address).substr(colon + 1)), &port) || port == 0 ||
      port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("worker address: got \"", address,
                                                   "\", expected host:port with port 1 to 65535"));
  }
  return absl::OkStatus();
}

void AddUnique(std::string address, std::vector<std::string>* addresses) {
  if (std::ranges::find(*addresses, address) == addresses->end()) {
    addresses->push_back(std::move(address));
  }
}

class StaticWorkerSource : public WorkerSource {
 public:
  explicit StaticWorkerSource(std::vector<std::string> addresses)
      : addresses_(std::move(addresses)) {}
  absl::StatusOr<std::vector<std::string>> List() override { return addresses_; }

 private:
  const std::vector<std::string> addresses_;
};

class FileWorkerSource : public WorkerSource {
 public:
  explicit FileWorkerSource(std::string path) : path_(std::move(path)) {}

  absl::StatusOr<std::vector<std::string>> List() override {
    std::ifstream file(path_);
    if (!file) return absl::NotFoundError(absl::StrCat(path_, ": cannot be read"));
    std::vector<std::string> addresses;
    std::string line;
    for (int line_number = 1; std::getline(file, line); ++line_number) {
      const absl::string_view entry =
          absl::StripAsciiWhitespace(absl::string_view(line).substr(0, line.find('#')));
      if (entry.empty()) continue;
      std::string address(entry);
      SKV_RETURN_IF_ERROR(
          Annotate(CheckAddress(address), absl::StrCat(path_, ": line ", line_number)));
      AddUnique(std::move(address), &addresses);
      if (addresses.size() > kMaxWorkers) {
        return absl::InvalidArgumentError(
            absl::StrCat(path_, ": more than ", kMaxWorkers, " workers"));
      }
    }
    return addresses;
  }

 private:
  const std::string path_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerSource>> MakeStaticWorkerSource(
    std::vector<std::string> addresses) {
  std::vector<std::string> unique;
  for (std::string& address : addresses) {
    SKV_RETURN_IF_ERROR(CheckAddress(address));
    AddUnique(std::move(address), &unique);
  }
  if (unique.empty() || unique.size() > kMaxWorkers) {
    return absl::InvalidArgumentError(
        absl::StrCat("worker addresses: got ", unique.size(), ", expected 1 to ", kMaxWorkers));
  }
  return std::make_unique<StaticWorkerSource>(std::move(unique));
}

std::unique_ptr<WorkerSource> MakeFileWorkerSource(std::string path) {
  return std::make_unique<FileWorkerSource>(std::move(path));
}

}  // namespace skv::router
