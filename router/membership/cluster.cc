#include "router/membership/cluster.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"

namespace skv::router {

absl::StatusOr<ClusterModel> Cluster::FindModel(std::string_view name) const {
  if (models.empty()) return DownStatus();
  if (name.empty() && models.size() == 1) return models.begin()->second;
  if (const auto it = models.find(name); it != models.end()) return it->second;
  const std::string served = absl::StrJoin(
      models, ", ", [](std::string* out, const auto& entry) { out->append(entry.first); });
  if (name.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("model: got an empty name, expected one of: ", served));
  }
  return absl::NotFoundError(
      absl::StrCat("model: got \"", Sv(name.substr(0, 128)), "\", expected one of: ", served));
}

absl::Status Cluster::DownStatus() const {
  constexpr int kMaxShown = 8;
  std::string reasons;
  int num_shown = 0;
  for (const auto& [id, entry] : groups) {
    if (entry.health.ok() || num_shown++ >= kMaxShown) continue;
    absl::StrAppend(&reasons, num_shown == 1 ? ": " : "; ", entry.group->address(), ": ",
                    entry.health.message());
  }
  return absl::UnavailableError(absl::StrCat("no healthy worker group (", num_healthy_groups(),
                                             " of ", groups.size(), " healthy)", reasons));
}

int Cluster::num_healthy_groups() const {
  int count = 0;
  for (const auto& [id, entry] : groups) count += entry.health.ok();
  return count;
}

}  // namespace skv::router
