#pragma once
// Where the addresses of the worker groups come from.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace skv::router {

// Called from one thread.
class WorkerSource {
 public:
  virtual ~WorkerSource() = default;
  // Addresses host:port as they are now, without duplicates. An error leaves the caller with the
  // list that it has.
  virtual absl::StatusOr<std::vector<std::string>> List() = 0;
};

// The same list for ever. InvalidArgument: an entry is not host:port, there is none, or
// there are more than 4096.
absl::StatusOr<std::unique_ptr<WorkerSource>> MakeStaticWorkerSource(
    std::vector<std::string> addresses);

// A text file, one host:port a line; blank lines and what follows a # are skipped. Read anew at
// every call. The file may be empty; NotFound or InvalidArgument (with line number) come from List.
std::unique_ptr<WorkerSource> MakeFileWorkerSource(std::string path);

}  // namespace skv::router
