#pragma once
// An immutable picture of the cluster, swapped whole by membership at every Tick.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "router/admission/served_model.h"
#include "router/balancer/cache_id.h"
#include "router/balancer/picker.h"
#include "router/membership/group.h"

namespace skv::router {

struct ClusterModel {
  std::shared_ptr<const ServedModel> served;
  std::shared_ptr<const Picker> picker;  // over the healthy groups; may be empty
  int num_healthy_groups = 0;
};

struct ClusterGroup {
  std::shared_ptr<Group> group;
  std::string fingerprint;  // of its model; empty while it is not known
  std::string numerics_id;
  CacheId cache_id = kNoCache;  // where its prompts stay
  std::string store_id;         // as it reports it
  std::string store_watch_address;
  uint64_t epoch = 0;  // of the process that serves; a restarted worker has another one
  bool draining = false;
  bool leaving = false;      // not on the worker list any more
  uint64_t num_outages = 0;  // times that it was healthy and went out
  absl::Status health;       // OK: picked; else why not
};

struct Cluster {
  std::map<std::string, ClusterModel, std::less<>> models;  // by name
  // All members, and those that have left while streams of theirs go on.
  std::map<GroupId, ClusterGroup> groups;
  // Times that a group became healthy, or was another process from one snapshot to the next.
  uint64_t num_recoveries = 0;

  // `name` empty: the only model. Unavailable: no group has told its model yet; the message says
  // why for each. NotFound: unknown name. InvalidArgument: empty name among several models.
  absl::StatusOr<ClusterModel> FindModel(std::string_view name) const;

  // "no healthy worker group (0 of 2 healthy): a:1: why; b:2: why", at most 8 of them.
  absl::Status DownStatus() const;

  int num_healthy_groups() const;
};

}  // namespace skv::router
