#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "router/membership/worker_source.h"

namespace skv::router {

// Whose list the test changes.
class FakeWorkerSource : public WorkerSource {
 public:
  // `list` outlives this object.
  explicit FakeWorkerSource(absl::StatusOr<std::vector<std::string>>* list) : list_(list) {}
  absl::StatusOr<std::vector<std::string>> List() override { return *list_; }

 private:
  absl::StatusOr<std::vector<std::string>>* const list_;
};

}  // namespace skv::router
