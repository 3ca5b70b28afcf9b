#include "kvstore/index/lease_table.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {

LeaseTable::LeaseTable(const LeaseLimits& limits)
    : limits_(limits), sessions_(limits.max_sessions), leases_(limits.max_leases) {}

absl::StatusOr<SessionId> LeaseTable::OpenSession() {
  const std::optional<uint32_t> idx = sessions_.Allocate();
  if (idx.has_value()) return sessions_.HandleOf(*idx);
  return absl::ResourceExhaustedError(
      absl::StrCat("session: all ", limits_.max_sessions, " are open (max_sessions)"));
}

void LeaseTable::CloseSession(SessionId id) {
  SKV_CHECK(sessions_[id.index].leases.empty());
  sessions_.Free(id.index);
}

absl::Status LeaseTable::CheckSession(SessionId id) const {
  if (sessions_.IsLive(id)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("session ", id.index, ".", id.generation, " is not open"));
}

absl::Status LeaseTable::CheckRoom(SessionId id) const {
  SKV_RETURN_IF_ERROR(CheckSession(id));
  if (sessions_[id.index].num_leases >= limits_.max_leases_per_session) {
    return absl::ResourceExhaustedError(
        absl::StrCat("session ", id.index, " holds ", limits_.max_leases_per_session,
                     " leases and may hold no more (max_leases_per_session)"));
  }
  if (leases_.size() < limits_.max_leases) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("lease: all ", limits_.max_leases, " are held (max_leases)"));
}

absl::Status LeaseTable::CheckLease(SessionId session, LeaseId lease) const {
  SKV_RETURN_IF_ERROR(CheckSession(session));
  // Alike for a foreign lease: nobody learns of the others' handles.
  if (leases_.IsLive(lease) && leases_[lease.index].session == session.index) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("lease ", lease.index, ".", lease.generation,
                                                 " is not held by session ", session.index));
}

LeaseId LeaseTable::Add(SessionId session, EntryIdx entry, uint32_t shard) {
  const std::optional<uint32_t> idx = leases_.Allocate();
  SKV_CHECK(idx.has_value());
  leases_[*idx] = {.session = session.index, .entry = entry, .shard = shard};
  sessions_[session.index].leases.PushFront(leases_, *idx);
  ++sessions_[session.index].num_leases;
  return leases_.HandleOf(*idx);
}

void LeaseTable::Remove(uint32_t lease) {
  Session& session = sessions_[leases_[lease].session];
  session.leases.Remove(leases_, lease);
  --session.num_leases;
  leases_.Free(lease);
}

}  // namespace skv::kvstore
