#pragma once
// A client with its own mapping of the arena, one request after the other. What it does not expect
// ends the process. For tests, benchmarks and the processes that tests start.

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvstore/server/testing/sentences.h"
#include "kvstore/session/frames.h"
#include "kvstore/session/session_socket.h"

namespace skv::kvstore {

class TestClient {
 public:
  // Connected and welcomed.
  explicit TestClient(const std::string& path, const Hello& hello = TestHello());
  // Closes the socket, which ends its leases.
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  void Send(const FrameBody& request);
  // What comes next: of what Ask has put aside, else from the socket.
  Frame Receive();
  // Unavailable: the store has closed, or will send no more.
  absl::StatusOr<Frame> TryReceive();
  // The answer; Notices that come before it are put aside.
  template <typename Reply>
  Reply Ask(const FrameBody& request) {
    Send(request);
    return std::get<Reply>(ReceiveReply().body);
  }

  CreateReplyItem Create(const Sentence& sentence);
  void Write(const Sentence& sentence, const ArenaRange& range) {
    WriteSentence(sentence, hello_, PlaceOf(range));
  }
  SealReplyItem Seal(LeaseHandle lease);
  GetReply Get(const std::vector<PrefixKey>& keys) { return Ask<GetReply>(kvstore::Get{keys}); }
  absl::StatusCode Release(LeaseHandle lease);
  // Create, Write and Seal; the lease goes on. nullopt: there was no room.
  std::optional<CreateReplyItem> Store(const Sentence& sentence);
  // As many as there is room for, from `first_number` on; all stay leased. Returns their number.
  int Fill(int first_number, uint64_t payload_bytes);

  bool IsIntact(const Sentence& sentence, const ArenaRange& range) const {
    return kvstore::IsIntact(sentence, hello_, PlaceOf(range));
  }
  std::span<std::byte> PlaceOf(const ArenaRange& range) const {
    return arena_.subspan(range.offset, range.num_bytes);
  }
  const Welcome& welcome() const { return welcome_; }
  SessionSocket& socket() { return socket_; }

 private:
  Frame ReceiveReply();

  const Hello hello_;
  SessionSocket socket_;
  std::unique_ptr<FrameBuffer> buffer_ = std::make_unique<FrameBuffer>();
  Welcome welcome_;
  std::span<std::byte> arena_;
  uint64_t request_id_ = 0;
  std::deque<Frame> aside_;
};

}  // namespace skv::kvstore
