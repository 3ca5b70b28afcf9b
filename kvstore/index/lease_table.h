#pragma once
// Sessions and the leases that each holds. Knows entries by index only. Not thread-safe.

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/index/eviction_order.h"
#include "kvstore/index/id_queue.h"
#include "kvstore/index/slab.h"

namespace skv::kvstore {

// A hold on one entry, and so on the chain above it. It writes the shard, if any, until that is
// sealed.
struct Lease {
  uint32_t session = 0;
  EntryIdx entry = 0;
  uint32_t shard = UINT32_MAX;  // being written; UINT32_MAX: it only reads
  uint32_t prev = 0, next = 0;  // of the same session
};

struct Session {
  IdQueue leases;
  uint32_t num_leases = 0;
};

using SessionId = Handle<Session>;
using LeaseId = Handle<Lease>;

struct LeaseLimits {
  uint32_t max_sessions = 1024;
  uint32_t max_leases = 1 << 20;
  uint32_t max_leases_per_session = 1 << 16;
};

class LeaseTable {
 public:
  explicit LeaseTable(const LeaseLimits& limits);

  // ResourceExhausted: max_sessions are open.
  absl::StatusOr<SessionId> OpenSession();
  // REQUIRES: the session is open and holds no lease.
  void CloseSession(SessionId id);

  // InvalidArgument: no such session.
  absl::Status CheckSession(SessionId id) const;
  // Whether Add may be called. InvalidArgument: no such session; ResourceExhausted: it, or all
  // together, hold as many leases as they may.
  absl::Status CheckRoom(SessionId id) const;
  // InvalidArgument: no such session, no such lease, or that of another session.
  absl::Status CheckLease(SessionId session, LeaseId lease) const;

  // REQUIRES: CheckRoom(session).ok().
  LeaseId Add(SessionId session, EntryIdx entry, uint32_t shard = UINT32_MAX);
  // REQUIRES: `lease` is the index of a live lease.
  void Remove(uint32_t lease);

  // The index of one of the session's leases; IdQueue::kNone when it has none.
  // REQUIRES: the session is open.
  uint32_t AnyOf(SessionId session) const { return sessions_[session.index].leases.back(); }
  SessionId SessionOf(uint32_t lease) const { return sessions_.HandleOf(leases_[lease].session); }

  Lease& operator[](uint32_t lease) { return leases_[lease]; }
  const Lease& operator[](uint32_t lease) const { return leases_[lease]; }
  uint32_t num_sessions() const { return sessions_.size(); }
  uint32_t num_leases() const { return leases_.size(); }

 private:
  const LeaseLimits limits_;
  Slab<Session> sessions_;
  Slab<Lease> leases_;
};

}  // namespace skv::kvstore
