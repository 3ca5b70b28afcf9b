#include "kvstore/server/testing/test_client.h"

#include <sys/mman.h>

#include <utility>

#include "common/clock.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::kvstore {
namespace {

// For what must happen, however loaded the machine is.
TimePoint Patience() { return RealClock().Now() + std::chrono::seconds(120); }

template <typename T>
T Must(absl::StatusOr<T> value) {
  SKV_CHECK(value.ok()) << value.status().ToString();
  return *std::move(value);
}

std::span<std::byte> Map(int fd, uint64_t num_bytes) {
  void* data = mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  SKV_CHECK(data != MAP_FAILED);
  return {static_cast<std::byte*>(data), num_bytes};
}

}  // namespace

TestClient::TestClient(const std::string& path, const Hello& hello)
    : hello_(hello), socket_(Must(SessionSocket::Connect(path, Patience()))) {
  SKV_CHECK(socket_.Send(Must(EncodeFrame({0, hello})), Patience()).ok());
  const auto answer = Must(socket_.ReceiveWelcome(*buffer_, Patience()));
  welcome_ = std::get<Welcome>(Must(DecodeFrame(answer.frame)).body);
  arena_ = Map(answer.descriptor.get(), welcome_.arena_bytes);
}

TestClient::~TestClient() { munmap(arena_.data(), arena_.size()); }

void TestClient::Send(const FrameBody& request) {
  const std::string bytes = Must(EncodeFrame({++request_id_, request}));
  const absl::Status sent = socket_.Send(bytes, Patience());
  SKV_CHECK(sent.ok()) << sent.ToString();
}

absl::StatusOr<Frame> TestClient::TryReceive() {
  SKV_ASSIGN_OR_RETURN(const std::string_view bytes, socket_.Receive(*buffer_, Patience()));
  return DecodeFrame(bytes);
}

Frame TestClient::Receive() {
  if (aside_.empty()) return Must(TryReceive());
  Frame frame = std::move(aside_.front());
  aside_.pop_front();
  return frame;
}

Frame TestClient::ReceiveReply() {
  while (true) {
    Frame frame = Must(TryReceive());
    if (frame.request_id == request_id_) return frame;
    aside_.push_back(std::move(frame));
  }
}

CreateReplyItem TestClient::Create(const Sentence& sentence) {
  return Ask<CreateReply>(kvstore::Create{{sentence.item}}).items[0];
}

SealReplyItem TestClient::Seal(LeaseHandle lease) {
  return Ask<SealReply>(kvstore::Seal{{{.lease = lease}}}).items[0];
}

absl::StatusCode TestClient::Release(LeaseHandle lease) {
  return Ask<ReleaseReply>(kvstore::Release{{lease}}).codes[0];
}

std::optional<CreateReplyItem> TestClient::Store(const Sentence& sentence) {
  const CreateReplyItem created = Create(sentence);
  if (created.code == absl::StatusCode::kResourceExhausted) return std::nullopt;
  SKV_CHECK(created.outcome == CreateOutcome::kCreated);
  Write(sentence, created.range);
  SKV_CHECK(Seal(created.lease).is_visible);
  return created;
}

int TestClient::Fill(int first_number, uint64_t payload_bytes) {
  int num_stored = 0;
  while (Store(MakeSentence(first_number + num_stored, nullptr, payload_bytes)).has_value()) {
    ++num_stored;
  }
  return num_stored;
}

}  // namespace skv::kvstore
