#include "router/group_choice.h"

#include <algorithm>
#include <set>
#include <span>
#include <vector>

namespace skv::router {
namespace {

// Of `tried`, those that have not been out since.
std::vector<TriedGroup> NotRecovered(const Cluster& cluster, std::span<const TriedGroup> tried) {
  std::vector<TriedGroup> result;
  for (const TriedGroup& group : tried) {
    const auto it = cluster.groups.find(group.group_id);
    if (it == cluster.groups.end() || it->second.num_outages == group.num_outages) {
      result.push_back(group);
    }
  }
  return result;
}

bool HasComeBack(std::span<const TriedGroup> tried) {
  std::set<GroupId> seen;
  return !std::ranges::all_of(
      tried, [&seen](const TriedGroup& group) { return seen.insert(group.group_id).second; });
}

// Not another time to a group where it was, restarted or not.
bool MustNotComeBack(const Part& part, const GroupNeeds& needs) {
  return !needs.numerics_id.has_value() && HasComeBack(part.tried);
}

std::vector<GroupId> Excluded(const Cluster& cluster, std::span<const TriedGroup> tried,
                              bool restarted_too, const GroupNeeds& needs) {
  std::vector<GroupId> excluded;
  if (needs.last_failure.ok()) return excluded;  // the first try
  for (const auto& [id, entry] : cluster.groups) {
    const bool was_tried =
        std::ranges::any_of(tried, [&, id = id, &entry = entry](const TriedGroup& group) {
          return group.group_id == id && (restarted_too || group.epoch == entry.epoch);
        });
    const bool other_bits =
        needs.numerics_id.has_value() && entry.numerics_id != *needs.numerics_id;
    if (was_tried || other_bits || entry.fingerprint != needs.fingerprint) excluded.push_back(id);
  }
  return excluded;
}

// Of a group that is out. One that is kept out needs other flags or another file first.
bool MayDoLater(const ClusterGroup& entry, const GroupNeeds& needs) {
  if (entry.leaving || absl::IsFailedPrecondition(entry.health)) return false;
  if (entry.fingerprint.empty()) return true;
  const bool same_bits = !needs.numerics_id.has_value() || entry.numerics_id == *needs.numerics_id;
  return same_bits && entry.fingerprint == needs.fingerprint;
}

}  // namespace

std::optional<PickResult> ChooseGroup(const Cluster& cluster, const Picker& picker,
                                      const Part& part, const GroupNeeds& needs) {
  const bool must_not_come_back = MustNotComeBack(part, needs);
  const auto pick = [&](std::span<const TriedGroup> tried) {
    return picker.Pick({.excluded = Excluded(cluster, tried, must_not_come_back, needs),
                        .sequence = needs.sequence,
                        .num_prompt_tokens = needs.num_prompt_tokens,
                        .prompt = needs.prompt});
  };
  std::optional<PickResult> picked = pick(part.tried);
  if (must_not_come_back) return picked;
  // One that was tried and has recovered is better than the end of a stream.
  const bool may_return = part.num_migrations > 0;
  if (!picked.has_value() && may_return) picked = pick(std::span(part.tried).last(1));
  if (!picked.has_value()) picked = pick(NotRecovered(cluster, part.tried));
  return picked;
}

// A group that broke off is about to restart, though it may be unknown yet that it is out. What has
// no room elsewhere, and no token yet, is better refused early.
bool MayRecover(const Cluster& cluster, const Part& part, const GroupNeeds& needs) {
  if (needs.last_failure.ok() || MustNotComeBack(part, needs)) return false;
  if (absl::IsResourceExhausted(needs.last_failure) && !needs.numerics_id.has_value()) return false;
  const bool just_lost = absl::IsUnavailable(needs.last_failure);
  return std::ranges::any_of(cluster.groups, [&](const auto& group) {
    const bool is_out =
        !group.second.health.ok() || (just_lost && group.first == part.tried.back().group_id);
    return is_out && MayDoLater(group.second, needs);
  });
}

}  // namespace skv::router
