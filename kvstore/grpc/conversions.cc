#include "kvstore/grpc/conversions.h"

#include <algorithm>
#include <string>

#include "kvstore/watch/watch_conversions.h"

namespace skv::kvstore {
namespace {

v1::Entry::State ToProto(EntryInfo::State state) {
  switch (state) {
    case EntryInfo::State::kCreated:
      return v1::Entry::CREATED;
    case EntryInfo::State::kSealed:
      return v1::Entry::SEALED;
    case EntryInfo::State::kDropped:
      break;
  }
  return v1::Entry::DROPPED;
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()),
                      std::string(status.message()));
}

v1::Entry ToProto(const EntryInfo& entry, std::string_view tenant, TimePoint now) {
  v1::Entry proto;
  *proto.mutable_key() = ToProto(entry.key);
  if (entry.parent.has_value()) proto.set_parent_prefix(ToProto(*entry.parent).prefix());
  proto.set_depth(entry.depth);
  proto.set_state(ToProto(entry.state));
  proto.set_tenant(std::string(tenant));
  proto.set_world_size(entry.world_size);
  proto.set_bytes(entry.bytes);
  proto.set_num_leases(entry.num_leases);
  proto.set_num_children(entry.num_children);
  if (entry.pinned_until.has_value()) {
    proto.set_pinned_seconds(std::max(0.0, ToSeconds(*entry.pinned_until - now)));
  }
  proto.set_is_announced(entry.announced);
  return proto;
}

v1::Stats ToProto(const StoreStats& stats) {
  const EntryTableGauges& index = stats.store.index;
  v1::Stats proto;
  proto.set_arena_bytes(stats.store.arena_bytes);
  proto.set_live_bytes(stats.store.live_bytes);
  proto.set_leased_bytes(index.leased_bytes);
  proto.set_num_entries(index.num_entries);
  proto.set_num_sealed_entries(index.num_sealed);
  proto.set_num_blocks(stats.store.num_blocks);
  proto.set_num_sessions(index.num_sessions - 1);  // without the store's own
  proto.set_num_leases(index.num_leases);
  proto.set_num_pins(index.num_pins);
  proto.set_num_evicted(index.num_evicted);
  for (const TenantStats& tenant : stats.tenants) {
    v1::TenantStats* const added = proto.add_tenants();
    added->set_name(tenant.name);
    added->set_bytes(tenant.bytes);
    added->set_quota_bytes(tenant.quota_bytes);
  }
  return proto;
}

v1::TierStats ToProto(const TierStatus& tier) {
  v1::TierStats proto;
  proto.set_name(tier.name);
  proto.set_is_on(tier.tier.is_on);
  proto.set_num_blocks(tier.tier.num_blocks);
  proto.set_bytes(tier.tier.num_bytes);
  proto.set_capacity_bytes(tier.tier.capacity_bytes);
  proto.set_num_hits(tier.tier.num_hits);
  proto.set_num_misses(tier.tier.num_misses);
  proto.set_num_promoted_entries(tier.mover.num_found_entries);
  proto.set_num_written_entries(tier.mover.num_written_entries);
  proto.set_num_queued_entries(tier.inbox.num_writes);
  proto.set_max_queued_entries(tier.limits.max_writes);
  proto.set_num_dropped_entries(tier.inbox.num_dropped_writes + tier.mover.num_failed_writes);
  proto.set_num_corrupt_blocks(tier.mover.num_corrupt_blocks);
  proto.set_num_failures(tier.tier.num_failures);
  return proto;
}

v1::VerifyResponse ToProto(const Verification& verification) {
  v1::VerifyResponse proto;
  proto.set_id(verification.id);
  proto.set_is_running(verification.is_running);
  proto.set_num_entries(verification.num_entries);
  proto.set_bytes(verification.num_bytes);
  proto.set_num_damaged_entries(verification.num_damaged_entries);
  for (const EntryKey& key : verification.damaged) *proto.add_damaged() = ToProto(key);
  proto.set_num_skipped_entries(verification.num_skipped_entries);
  proto.set_num_walked_places(verification.num_walked_places);
  proto.set_num_places(verification.num_places);
  return proto;
}

}  // namespace skv::kvstore
