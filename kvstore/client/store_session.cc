#include "kvstore/client/store_session.h"

#include <poll.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace skv::kvstore {
namespace {

// Of one ReceiveAll: a store that never stops sending must not keep the caller.
constexpr int kMaxFramesAtOnce = 1000;

bool HasPassed(TimePoint deadline) { return RealClock().Now() >= deadline; }

absl::Status UnexpectedFrame(std::string_view got, std::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("got a frame of kind ", Sv(got), ", expected ", Sv(expected)));
}

struct Opened {
  Welcome welcome;
  MappedMemory arena;
};

absl::StatusOr<Opened> ReceiveWelcome(SessionSocket& socket, TimePoint deadline) {
  const auto buffer = std::make_unique<FrameBuffer>();
  SKV_ASSIGN_OR_RETURN(const SessionSocket::FrameWithDescriptor received,
                       socket.ReceiveWelcome(*buffer, deadline));
  SKV_ASSIGN_OR_RETURN(const Frame frame, DecodeFrame(received.frame));
  if (const auto* error = std::get_if<Error>(&frame.body)) {
    return absl::Status(error->code, error->message);
  }
  const auto* welcome = std::get_if<Welcome>(&frame.body);
  if (welcome == nullptr) return UnexpectedFrame(FrameName(frame.body), "welcome");
  if (!received.descriptor.is_open()) {
    return absl::InvalidArgumentError("welcome: came without a descriptor, expected the arena's");
  }
  SKV_ASSIGN_OR_RETURN(MappedMemory arena,
                       MappedMemory::OfArena(received.descriptor.get(), welcome->arena_bytes));
  return Opened{*welcome, std::move(arena)};
}

}  // namespace

absl::StatusOr<std::shared_ptr<StoreSession>> StoreSession::Open(SessionSocket socket,
                                                                 const Hello& hello,
                                                                 TimePoint deadline) {
  SKV_ASSIGN_OR_RETURN(const std::string bytes, EncodeFrame({.body = hello}));
  SKV_RETURN_IF_ERROR(socket.Send(bytes, deadline));
  absl::StatusOr<Opened> opened = ReceiveWelcome(socket, deadline);
  SKV_RETURN_IF_ERROR(Annotate(opened.status(), "kvstore: opening a session"));
  return std::shared_ptr<StoreSession>(
      new StoreSession(std::move(socket), std::move(opened->arena), hello, opened->welcome));
}

StoreSession::StoreSession(SessionSocket socket, MappedMemory arena, const Hello& hello,
                           const Welcome& welcome)
    : socket_(std::move(socket)),
      arena_(std::move(arena)),
      memory_(arena_.bytes(), {.layout = hello.layout,
                               .rank = static_cast<int>(hello.rank),
                               .group_size = static_cast<int>(hello.world_size)}),
      max_requests_(welcome.max_requests),
      epoch_(welcome.epoch) {}

absl::StatusOr<FrameBody> StoreSession::Exchange(FrameBody request, TimePoint deadline) {
  SKV_RETURN_IF_ERROR(SendReleases(deadline));
  ++num_requests_;
  SKV_ASSIGN_OR_RETURN(awaited_request_, SendRequest(std::move(request), deadline));
  while (!reply_.has_value()) SKV_RETURN_IF_ERROR(ReceiveOne(deadline));
  awaited_request_ = 0;
  return *std::exchange(reply_, std::nullopt);
}

absl::Status StoreSession::SendReleases(TimePoint deadline) {
  SKV_RETURN_IF_ERROR(lost_);
  if (HasPassed(deadline)) {
    return absl::DeadlineExceededError("kvstore: the deadline had passed before the request");
  }
  while (!ended_.empty()) {
    const size_t count = std::min(ended_.size(), kMaxFrameItems);
    Release release{{ended_.end() - static_cast<ptrdiff_t>(count), ended_.end()}};
    ended_.resize(ended_.size() - count);
    SKV_ASSIGN_OR_RETURN(const uint64_t id, SendRequest(std::move(release), deadline));
    releases_[id] = count;
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> StoreSession::SendRequest(FrameBody request, TimePoint deadline) {
  SKV_ASSIGN_OR_RETURN(const std::string bytes, EncodeFrame({.request_id = last_request_id_ + 1,
                                                             .body = std::move(request)}));
  while (releases_.size() >= max_requests_) SKV_RETURN_IF_ERROR(ReceiveOne(deadline));
  SKV_RETURN_IF_ERROR(SendFrame(bytes, deadline));
  return ++last_request_id_;
}

// Reads meanwhile: two ends that wait for each other to read would wait for ever.
absl::Status StoreSession::SendFrame(std::string_view frame, TimePoint deadline) {
  while (true) {
    const absl::StatusOr<bool> is_sent = socket_.TrySend(frame);
    if (!is_sent.ok()) return Lose(is_sent.status());
    if (*is_sent) return absl::OkStatus();
    const absl::Status ready = PollUntil(socket_.fd(), POLLIN | POLLOUT, deadline);
    if (!ready.ok()) return Lose(ready);
    ReceiveAll();
    SKV_RETURN_IF_ERROR(lost_);
  }
}

absl::Status StoreSession::ReceiveOne(TimePoint deadline) {
  const absl::StatusOr<std::string_view> bytes = socket_.Receive(*buffer_, deadline);
  if (!bytes.ok()) return Lose(bytes.status());
  SKV_RETURN_IF_ERROR(Accept(*bytes));
  // Receive looks at the time only when nothing is there.
  if (!reply_.has_value() && HasPassed(deadline)) {
    return Lose(absl::DeadlineExceededError("no reply before the deadline"));
  }
  return absl::OkStatus();
}

void StoreSession::ReceiveAll() {
  for (int i = 0; i < kMaxFramesAtOnce && lost_.ok(); ++i) {
    const absl::StatusOr<std::optional<std::string_view>> bytes = socket_.TryReceive(*buffer_);
    if (!bytes.ok()) {
      Lose(bytes.status()).IgnoreError();
    } else if (!bytes->has_value()) {
      return;
    } else {
      Accept(**bytes).IgnoreError();
    }
  }
}

absl::Status StoreSession::Accept(std::string_view bytes) {
  absl::StatusOr<Frame> frame = DecodeFrame(bytes);
  if (!frame.ok()) return Lose(frame.status());
  if (const auto* error = std::get_if<Error>(&frame->body)) {
    return Lose(absl::Status(error->code, absl::StrCat("the store says: ", error->message)));
  }
  if (const auto* notice = std::get_if<Notice>(&frame->body)) {
    AcceptNotice(*notice);
    return absl::OkStatus();
  }
  return AcceptReply(frame->request_id, std::move(frame->body));
}

absl::Status StoreSession::AcceptReply(uint64_t request_id, FrameBody body) {
  if (request_id == awaited_request_ && request_id != 0) {
    reply_ = std::move(body);
    return absl::OkStatus();
  }
  const auto release = releases_.find(request_id);
  if (release == releases_.end()) {
    return Lose(absl::InvalidArgumentError(absl::StrCat(
        "got a ", Sv(FrameName(body)), " to request ", request_id, ", which awaits none")));
  }
  const auto* reply = std::get_if<ReleaseReply>(&body);
  if (reply == nullptr) return LoseOverReply("release", FrameName(body));
  if (reply->codes.size() != release->second) {
    return Lose(absl::InvalidArgumentError(absl::StrCat("release reply: has ", reply->codes.size(),
                                                        " items, expected ", release->second)));
  }
  // The codes do not matter: a lease that is not there has ended.
  releases_.erase(release);
  return absl::OkStatus();
}

std::vector<PrefixKey> StoreSession::Await(std::span<const PrefixKey> keys) {
  std::vector<PrefixKey> added;
  for (const PrefixKey& key : keys) {
    if (awaited_.insert(key).second) added.push_back(key);
  }
  return added;
}

void StoreSession::StopAwaiting(std::span<const PrefixKey> keys) {
  for (const PrefixKey& key : keys) awaited_.erase(key);
}

void StoreSession::AcceptNotice(const Notice& notice) {
  for (const PrefixKey& key : notice.sealed) {
    if (awaited_.erase(key) > 0) notices_.sealed.push_back(key);
  }
  for (const PrefixKey& key : notice.abandoned) {
    if (awaited_.erase(key) > 0) notices_.abandoned.push_back(key);
  }
}

absl::Status StoreSession::LoseOverReply(std::string_view request, std::string_view reply) {
  return Lose(Annotate(UnexpectedFrame(reply, absl::StrCat(Sv(request), " reply")), request));
}

absl::Status StoreSession::Lose(const absl::Status& why) {
  if (!lost_.ok()) return lost_;
  ++num_failures_;
  lost_ = absl::UnavailableError(absl::StrCat("kvstore: the session is lost: ", why.message()));
  notices_.abandoned.insert(notices_.abandoned.end(), awaited_.begin(), awaited_.end());
  awaited_.clear();
  ended_.clear();
  releases_.clear();
  return lost_;
}

absl::Status StoreSession::Refusal(absl::StatusCode code, std::string_view what) {
  ++num_failures_;
  const bool is_unavailable = code == absl::StatusCode::kUnavailable;
  return absl::Status(
      is_unavailable ? absl::StatusCode::kInternal : code,
      absl::StrCat("kvstore: ", Sv(what), ": the store says ", absl::StatusCodeToString(code)));
}

absl::StatusOr<HeldLease> StoreSession::Hold(LeaseHandle lease) {
  const auto id = static_cast<uint64_t>(lease);
  SKV_RETURN_IF_ERROR(memory_.BeginLease(id));
  return HeldLease(shared_from_this(), id);
}

void StoreSession::EndLease(uint64_t lease) {
  memory_.EndLease(lease);
  if (lost_.ok()) ended_.push_back(static_cast<LeaseHandle>(lease));
}

BlockClientGauges StoreSession::gauges() const {
  return {.is_shared = true,
          .store_epoch = epoch_,
          .num_leases = memory_.num_leases(),
          .num_unsent_ends = ended_.size(),
          .mapped_bytes = memory_.num_bytes(),
          .num_requests = num_requests_,
          .num_failures = num_failures_,
          .num_corrupt_blocks = memory_.num_corrupt_blocks(),
          .num_verified_bytes = memory_.num_verified_bytes()};
}

}  // namespace skv::kvstore
