#include "kvstore/watch/watch_conversions.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {
namespace {

std::string ToBytes(const std::array<uint8_t, 16>& bytes) { return {bytes.begin(), bytes.end()}; }

absl::Status ReadBytes(std::string_view field, const std::string& value,
                       std::array<uint8_t, 16>* bytes) {
  if (value.size() != bytes->size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Sv(field), ": got ", value.size(), " bytes, expected ", bytes->size()));
  }
  std::copy(value.begin(), value.end(), bytes->begin());
  return absl::OkStatus();
}

absl::StatusOr<EntryEvent> ReadEvent(const v1::EntryEvent& proto) {
  EntryEvent event{.depth = proto.depth()};
  switch (proto.kind()) {
    case v1::EntryEvent::SEALED:
      event.kind = EntryEvent::Kind::kSealed;
      break;
    case v1::EntryEvent::EVICTED:
      event.kind = EntryEvent::Kind::kEvicted;
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat("events.kind: got ", proto.kind()));
  }
  SKV_ASSIGN_OR_RETURN(event.key, FromProto(proto.key()));
  return event;
}

absl::Status ReadPage(const v1::SnapshotPage& proto, WatchMessage* message) {
  message->is_page = true;
  message->is_first = proto.is_first();
  message->is_last = proto.is_last();
  message->events.reserve(proto.entries_size());
  for (const v1::AnnouncedEntry& entry : proto.entries()) {
    SKV_ASSIGN_OR_RETURN(const EntryKey key, FromProto(entry.key()));
    message->events.push_back({.key = key, .depth = entry.depth()});
  }
  return absl::OkStatus();
}

absl::Status ReadEvents(const v1::Events& proto, WatchMessage* message) {
  message->first_sequence = proto.first_sequence();
  message->events.reserve(proto.events_size());
  for (const v1::EntryEvent& event : proto.events()) {
    SKV_ASSIGN_OR_RETURN(message->events.emplace_back(), ReadEvent(event));
  }
  return absl::OkStatus();
}

void WriteEvents(const WatchMessage& message, v1::Events* proto) {
  proto->set_first_sequence(message.first_sequence);
  for (const EntryEvent& event : message.events) {
    v1::EntryEvent* const added = proto->add_events();
    added->set_kind(event.kind == EntryEvent::Kind::kSealed ? v1::EntryEvent::SEALED
                                                            : v1::EntryEvent::EVICTED);
    *added->mutable_key() = ToProto(event.key);
    added->set_depth(event.depth);
  }
}

void WritePage(const WatchMessage& message, v1::SnapshotPage* proto) {
  proto->set_is_first(message.is_first);
  proto->set_is_last(message.is_last);
  for (const EntryEvent& entry : message.events) {
    v1::AnnouncedEntry* const added = proto->add_entries();
    *added->mutable_key() = ToProto(entry.key);
    added->set_depth(entry.depth);
  }
}

}  // namespace

v1::Key ToProto(const EntryKey& key) {
  v1::Key proto;
  proto.set_prefix(ToBytes(key.prefix.bytes));
  proto.set_layout(ToBytes(key.layout.bytes));
  return proto;
}

absl::StatusOr<EntryKey> FromProto(const v1::Key& proto) {
  EntryKey key;
  SKV_RETURN_IF_ERROR(ReadBytes("key.prefix", proto.prefix(), &key.prefix.bytes));
  SKV_RETURN_IF_ERROR(ReadBytes("key.layout", proto.layout(), &key.layout.bytes));
  return key;
}

v1::WatchRequest ToProto(const WatchPosition& position) {
  v1::WatchRequest request;
  if (position.next_sequence == 0) return request;
  request.set_epoch(ToBytes(position.epoch));
  request.set_next_sequence(position.next_sequence);
  return request;
}

absl::StatusOr<WatchPosition> FromProto(const v1::WatchRequest& request) {
  WatchPosition position;
  if (request.epoch().empty()) return position;
  SKV_RETURN_IF_ERROR(ReadBytes("epoch", request.epoch(), &position.epoch));
  position.next_sequence = request.next_sequence();
  return position;
}

v1::WatchResponse ToProto(const WatchMessage& message) {
  v1::WatchResponse response;
  response.set_epoch(ToBytes(message.epoch));
  response.set_next_sequence(message.next_sequence);
  if (message.is_page) {
    WritePage(message, response.mutable_snapshot());
  } else {
    WriteEvents(message, response.mutable_events());
  }
  return response;
}

absl::StatusOr<WatchMessage> FromProto(const v1::WatchResponse& response) {
  WatchMessage message{.next_sequence = response.next_sequence()};
  SKV_RETURN_IF_ERROR(ReadBytes("epoch", response.epoch(), &message.epoch));
  switch (response.body_case()) {
    case v1::WatchResponse::kSnapshot:
      SKV_RETURN_IF_ERROR(ReadPage(response.snapshot(), &message));
      return message;
    case v1::WatchResponse::kEvents:
      SKV_RETURN_IF_ERROR(ReadEvents(response.events(), &message));
      return message;
    case v1::WatchResponse::BODY_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("body: absent, expected a snapshot's page or events");
}

}  // namespace skv::kvstore
