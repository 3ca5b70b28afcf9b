#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "bench/hostile/attack.h"
#include "bench/hostile/raw_client.h"
#include "common/status.h"

namespace skv::hostile {
namespace {

using absl::StatusCode;
using kvstore::Error;
using kvstore::Frame;
using kvstore::FrameBody;
using kvstore::Sentence;

constexpr int kForgedFrames = 20000;

// The store's last word is an Error that says `message`.
absl::Status ExpectError(RawClient& client, std::string_view message, std::string_view what) {
  const absl::StatusOr<Frame> answer = client.Receive();
  SKV_RETURN_IF_ERROR(
      Expect(answer.ok(), absl::StrCat(Sv(what), ": no answer: ", answer.status().ToString())));
  const auto* error = std::get_if<Error>(&answer->body);
  SKV_RETURN_IF_ERROR(Expect(error != nullptr, absl::StrCat(Sv(what), ": no Error")));
  SKV_RETURN_IF_ERROR(Expect(absl::StrContains(error->message, Sv(message)),
                             absl::StrCat(Sv(what), ": says '", error->message, "'")));
  return Expect(absl::IsUnavailable(client.Receive().status()),
                absl::StrCat(Sv(what), ": the store does not close"));
}

std::string Encoded(const FrameBody& body, uint64_t request_id = 1) {
  return kvstore::EncodeFrame({request_id, body}).value();
}
std::string EncodedHello() { return Encoded(kvstore::TestHello(), 0); }

// With `num_bytes` of `bytes` at `offset`.
std::string Patched(std::string frame, size_t offset, uint64_t bytes, size_t num_bytes) {
  std::memcpy(frame.data() + offset, &bytes, num_bytes);
  return frame;
}

// Offsets as in docs/formats/session.md.
absl::Status BadHellos(Target& target) {
  const std::string hello = EncodedHello();
  const struct {
    const char* what;
    std::string frame;
    const char* message;
  } kCases[] = {{"magic", Patched(hello, 12, 0, 1), "magic"},
                {"version", Patched(hello, 20, kvstore::kSessionVersion + 1, 4), "version"},
                {"group of none", Patched(hello, 28, 0, 4), "world"},
                {"group of too many", Patched(hello, 28, 1025, 4), "world"},
                {"rank beyond its group", Patched(hello, 32, 1, 4), "rank"},
                {"a line break in the name", Patched(hello, 56, '\n', 1), "name"},
                {"a name without end", Patched(hello, 52, UINT32_MAX, 4), "name"},
                {"more behind the frame", hello + "x", "expected 64"},
                {"half a frame", hello.substr(0, hello.size() / 2), ""},
                {"a kind that is none", Patched(hello, 0, 255, 4), "kind"}};
  for (const auto& c : kCases) {
    SKV_ASSIGN_OR_RETURN(RawClient client, RawClient::Connect(target.socket));
    SKV_RETURN_IF_ERROR(client.Send(c.frame));
    SKV_RETURN_IF_ERROR(ExpectError(client, c.message, c.what));
  }
  return absl::OkStatus();
}

absl::Status WrongTurn(Target& target) {
  const PrefixKey key = target.NewSentence().item.key;
  for (const FrameBody& body :
       {FrameBody(kvstore::Get{{key}}), FrameBody(kvstore::Release{{kvstore::LeaseHandle{1}}})}) {
    SKV_ASSIGN_OR_RETURN(RawClient client, RawClient::Connect(target.socket));
    SKV_RETURN_IF_ERROR(client.Send(Encoded(body)));
    SKV_RETURN_IF_ERROR(ExpectError(client, "expected a hello", "a request before Hello"));
  }
  for (const FrameBody& body :
       {FrameBody(kvstore::TestHello()), FrameBody(kvstore::Notice{.sealed = {key}}),
        FrameBody(Error{StatusCode::kInternal, "x"}),
        FrameBody(kvstore::Welcome{.arena_bytes = 1, .max_leases = 1, .max_requests = 1})}) {
    SKV_ASSIGN_OR_RETURN(RawClient client, RawClient::Open(target.socket));
    SKV_RETURN_IF_ERROR(client.Send(Encoded(body, 0)));
    SKV_RETURN_IF_ERROR(
        ExpectError(client, "expected a request", absl::StrCat("a ", Sv(FrameName(body)))));
  }
  return absl::OkStatus();
}

absl::Status BadPackets(Target& target) {
  for (const size_t num_bytes : {size_t{0}, size_t{1}, size_t{11}, size_t{65537}, size_t{100000}}) {
    for (const bool is_open : {false, true}) {
      SKV_ASSIGN_OR_RETURN(RawClient client, is_open ? RawClient::Open(target.socket)
                                                     : RawClient::Connect(target.socket));
      SKV_RETURN_IF_ERROR(client.SendPacket(std::string(num_bytes, '\1')));
      SKV_RETURN_IF_ERROR(ExpectError(client, "", absl::StrCat("a packet of ", num_bytes)));
    }
  }
  return absl::OkStatus();
}

// None may stay in the store's table.
absl::Status PassedDescriptors(Target& target) {
  for (int i = 0; i < 200; ++i) {
    SKV_ASSIGN_OR_RETURN(RawClient client, i % 2 == 0 ? RawClient::Connect(target.socket)
                                                      : RawClient::Open(target.socket));
    SKV_RETURN_IF_ERROR(client.Send(EncodedHello(), /*passed_fd=*/0));
    SKV_RETURN_IF_ERROR(ExpectError(client, "descriptors, expected none", "a descriptor"));
  }
  return absl::OkStatus();
}

class Forger {
 public:
  explicit Forger(Target& target) {
    const std::vector<Sentence> chain = {target.NewSentence(), target.NewSentence()};
    const auto lease = kvstore::LeaseHandle{uint64_t{1} << 32};
    frames_ = {EncodedHello(),
               Encoded(kvstore::Create{{chain[0].item, chain[1].item}}),
               Encoded(kvstore::Seal{{{lease, false}, {lease, true}}}),
               Encoded(kvstore::Get{KeysOf(chain)}),
               Encoded(kvstore::Release{{lease, lease}}),
               Encoded(kvstore::Wait{KeysOf(chain)}),
               Encoded(kvstore::GetReply{.lease = lease, .blocks = {{64, 64}}}),
               Encoded(kvstore::Notice{.abandoned = KeysOf(chain)}, 0)};
  }

  // A frame with a few faults, or random bytes.
  std::string Draw() {
    std::string frame = frames_[random_() % frames_.size()];
    for (uint64_t faults = random_() % 4 + 1; faults > 0; --faults) Damage(frame);
    return frame;
  }

 private:
  void Damage(std::string& frame) {
    const size_t at = random_() % frame.size();
    switch (random_() % 6) {
      case 0:
        frame[at] = static_cast<char>(frame[at] ^ (1 << random_() % 8));
        break;
      case 1:
        frame.resize(at + 1);
        break;
      case 2:
        frame.append(random_() % 64, static_cast<char>(random_()));
        break;
      case 3: {
        const uint32_t extremes[] = {0, 1, 1U << 31, UINT32_MAX};
        if (at + 4 <= frame.size()) std::memcpy(&frame[at], &extremes[random_() % 4], 4);
        break;
      }
      case 4:
        frame += frames_[random_() % frames_.size()];
        break;
      default:
        frame[0] = static_cast<char>(random_() % 16);
    }
    frame.resize(std::min(frame.size(), kvstore::kMaxFrameBytes));
  }

  std::vector<std::string> frames_;
  std::mt19937_64 random_{1};
};

// Each is answered by a reply or an Error, whatever it says.
absl::Status ForgedFrames(Target& target) {
  Forger forger(target);
  SKV_ASSIGN_OR_RETURN(RawClient client, RawClient::Open(target.socket));
  for (int i = 0; i < kForgedFrames; ++i) {
    SKV_RETURN_IF_ERROR(client.Send(forger.Draw()));
    SKV_ASSIGN_OR_RETURN(Frame answer, client.Receive());
    while (std::holds_alternative<kvstore::Notice>(answer.body)) {
      SKV_ASSIGN_OR_RETURN(answer, client.Receive());
    }
    if (std::holds_alternative<Error>(answer.body)) {
      SKV_ASSIGN_OR_RETURN(client, RawClient::Open(target.socket));
    }
    if (i % 1000 == 0) SKV_RETURN_IF_ERROR(target.healthy->CheckServed());
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<Attack> FrameAttacks() {
  return {{"bad hellos", BadHellos},
          {"frames out of turn", WrongTurn},
          {"packets that are no frames", BadPackets},
          {"descriptors passed to the store", PassedDescriptors},
          {"forged frames", ForgedFrames}};
}

}  // namespace skv::hostile
