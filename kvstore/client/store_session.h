#pragma once
// The client's end of a session with skv-kvstore: its socket, the arena's mapping, and the leases
// given to it. Lives until the last handle is gone, since closing the socket would end their leases
// and let the store put other blocks under their pointers.
//
// The session is lost when the store is gone, has sent an Error, has missed a deadline, or does not
// keep to docs/formats/session.md. From then on nothing is sent or received. Not thread-safe.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/status.h"
#include "kvstore/client/block_client.h"
#include "kvstore/client/block_handles.h"
#include "kvstore/client/block_memory.h"
#include "kvstore/client/mapped_memory.h"
#include "kvstore/session/frames.h"
#include "kvstore/session/session_socket.h"

namespace skv::kvstore {

class StoreSession : public LeaseOwner {
 public:
  // Says Hello and maps the arena.
  // Of the store's Error: its code. FailedPrecondition: an arena that is not safe to map (see
  // MappedMemory). InvalidArgument: what came is no Welcome of this version. Others as those of
  // SessionSocket.
  static absl::StatusOr<std::shared_ptr<StoreSession>> Open(SessionSocket socket,
                                                            const Hello& hello, TimePoint deadline);

  // One request and its reply; ends of leases are sent before. Unavailable, DeadlineExceeded: see
  // BlockClient. InvalidArgument: the request cannot be encoded.
  template <typename Reply>
  absl::StatusOr<Reply> Call(FrameBody request, TimePoint deadline) {
    const std::string_view name = FrameName(request);
    SKV_ASSIGN_OR_RETURN(FrameBody reply, Exchange(std::move(request), deadline));
    if (auto* wanted = std::get_if<Reply>(&reply)) return std::move(*wanted);
    return LoseOverReply(name, FrameName(reply));
  }
  absl::Status SendReleases(TimePoint deadline);
  // Whatever has come, without waiting.
  void ReceiveAll();

  // What the reply says cannot be. Returns Unavailable, as all calls do from now on.
  absl::Status Lose(const absl::Status& why);
  // The store's code for a request, or an item of it. Never Unavailable.
  absl::Status Refusal(absl::StatusCode code, std::string_view what);

  // InvalidArgument: the lease is held already.
  absl::StatusOr<HeldLease> Hold(LeaseHandle lease);
  void EndLease(uint64_t lease) override;

  // Notices of other keys are dropped. Returns those that were not awaited before.
  std::vector<PrefixKey> Await(std::span<const PrefixKey> keys);
  void StopAwaiting(std::span<const PrefixKey> keys);
  Notices TakeNotices() { return std::exchange(notices_, {}); }

  BlockMemory& memory() { return memory_; }
  const absl::Status& status() const { return lost_; }
  BlockClientGauges gauges() const;

 private:
  StoreSession(SessionSocket socket, MappedMemory arena, const Hello& hello,
               const Welcome& welcome);
  absl::StatusOr<FrameBody> Exchange(FrameBody request, TimePoint deadline);
  absl::Status LoseOverReply(std::string_view request, std::string_view reply);
  absl::StatusOr<uint64_t> SendRequest(FrameBody request, TimePoint deadline);
  absl::Status SendFrame(std::string_view frame, TimePoint deadline);
  absl::Status ReceiveOne(TimePoint deadline);
  absl::Status Accept(std::string_view bytes);
  absl::Status AcceptReply(uint64_t request_id, FrameBody body);
  void AcceptNotice(const Notice& notice);

  SessionSocket socket_;
  const MappedMemory arena_;
  BlockMemory memory_;
  const uint32_t max_requests_;
  const std::array<uint8_t, 16> epoch_;
  const std::unique_ptr<FrameBuffer> buffer_ = std::make_unique<FrameBuffer>();
  absl::Status lost_;

  uint64_t last_request_id_ = 0;
  uint64_t awaited_request_ = 0;  // 0: none
  std::optional<FrameBody> reply_;
  absl::flat_hash_map<uint64_t, size_t> releases_;  // on their way: the leases of each request
  std::vector<LeaseHandle> ended_;                  // not sent yet
  absl::flat_hash_set<PrefixKey> awaited_;
  Notices notices_;
  uint64_t num_requests_ = 0;
  uint64_t num_failures_ = 0;
};

}  // namespace skv::kvstore
