#pragma once
// One try of a request's samples at one worker group.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "router/balancer/picker.h"
#include "router/balancer/prefix_index.h"
#include "router/membership/cluster.h"
#include "router/membership/group_client.h"
#include "router/migration.h"

namespace skv::router {

// A group as it was tried: a worker that has restarted since is another one.
struct TriedGroup {
  GroupId group_id = 0;
  uint64_t epoch = 0;
  uint64_t num_outages = 0;  // with more of them it has recovered since
};

// How long a part may wait for a group.
struct WaitLimit {
  TimePoint until;
  bool is_deadline = false;  // of the request
};

// Samples that go to one group together: all of a request until its first token, then each alone.
struct Part {
  std::vector<int32_t> sample_idxs;  // of the client's request; the group counts them from 0
  std::vector<TriedGroup> tried;     // in this order; twice: it came back there
  int num_migrations = 0;
  MigrationReason reason = MigrationReason::kLost;  // of the last one
  // Of its wait for a group; nullopt: it did not wait. Without a token it waits once.
  std::optional<WaitLimit> wait;
  bool found_no_room = false;  // after that: the wait goes on
};

// What is held at the group for a part: tokens in its count, a watch, the stream, and until its
// first token the promise that it will have the prompt: given when the request is sent, so that
// another one of the same prefix follows it there and waits for it. Not thread-safe: the relay's
// lock guards it.
class Attempt {
 public:
  // `request` is what the group will get, `picked` says which one. `prefixes` may be null; it and
  // `prompt` outlive the attempt.
  Attempt(Part part, const GroupRequest& request, const ClusterGroup& entry,
          const PickResult& picked, PrefixIndex* prefixes, const PrefixChain* prompt);

  const Part& part() const { return part_; }
  Group& group() const { return *group_; }
  const std::string& request_id() const { return request_id_; }  // on the worker
  const std::string& numerics_id() const { return numerics_id_; }
  // True once the group sent a token.
  bool answered() const { return answered_; }
  // True once given up or ended: what the group still says is not heard.
  bool released() const { return released_; }

  void OnTokens(int64_t num_tokens);
  // REQUIRES: not released.
  void SetStream(std::shared_ptr<GroupStream> stream, uint64_t watch_id);
  // Gives everything back. Returns the stream, where there is one yet: the caller cancels it
  // outside of the lock.
  std::shared_ptr<GroupStream> Release();

 private:
  void Uncharge(int64_t num_tokens);

  const Part part_;
  const std::shared_ptr<Group> group_;
  const std::string request_id_;
  const CacheId cache_id_;
  const std::string numerics_id_;
  const int64_t num_first_tokens_;  // computed before the first new one
  const int64_t expected_cached_tokens_;
  PrefixIndex* const prefixes_;
  const PrefixChain* const prompt_;
  int64_t charged_tokens_;
  bool answered_ = false;
  bool released_ = false;
  std::shared_ptr<GroupStream> stream_;
  std::optional<uint64_t> watch_id_;
};

}  // namespace skv::router
