#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/hostile/attack.h"
#include "bench/hostile/raw_client.h"
#include "common/status.h"

namespace skv::hostile {
namespace {

using absl::StatusCode;
using kvstore::GetReply;
using kvstore::Sentence;
using kvstore::TestClient;
using kvstore::WaitReply;

// All sessions that there are, and a hundred more, while the healthy client asks on.
absl::Status ThousandsOfConnections(Target& target) {
  std::vector<RawClient> clients;
  // The healthy client has one.
  for (int i = 1; i < Target::kMaxSessions; ++i) {
    SKV_ASSIGN_OR_RETURN(RawClient client, RawClient::Open(target.socket));
    clients.push_back(std::move(client));
    if (i % 100 == 0) SKV_RETURN_IF_ERROR(target.healthy->CheckServed());
  }
  for (int i = 0; i < 100; ++i) {
    const absl::Status refused = RawClient::Open(target.socket).status();
    SKV_RETURN_IF_ERROR(Expect(absl::IsResourceExhausted(refused),
                               absl::StrCat("a session too many: ", refused.ToString())));
  }
  const Sentence sentence = target.NewSentence();
  const std::string get = kvstore::EncodeFrame({1, kvstore::Get{{sentence.item.key}}}).value();
  for (RawClient& client : clients) SKV_RETURN_IF_ERROR(client.Send(get));
  SKV_RETURN_IF_ERROR(target.healthy->CheckServed());
  for (RawClient& client : clients) {
    SKV_ASSIGN_OR_RETURN(const auto reply, client.Receive());
    SKV_RETURN_IF_ERROR(Expect(reply.body == kvstore::FrameBody(GetReply{}), "another reply"));
  }
  return absl::OkStatus();
}

// Half of them say Hello and go before they hear the answer.
absl::Status ConnectionsThatEndAtOnce(Target& target) {
  const std::string hello = kvstore::EncodeFrame({0, kvstore::TestHello()}).value();
  for (int i = 0; i < 20000; ++i) {
    SKV_ASSIGN_OR_RETURN(RawClient client, RawClient::Connect(target.socket));
    if (i % 2 == 0) SKV_RETURN_IF_ERROR(client.Send(hello));
    if (i % 1000 == 0) SKV_RETURN_IF_ERROR(target.healthy->CheckServed());
  }
  return absl::OkStatus();
}

// They take the places for clients that have no session yet, until the store closes them.
absl::Status SilentConnections(Target& target) {
  std::vector<RawClient> clients;
  for (int i = 0; i < 50; ++i) {
    SKV_ASSIGN_OR_RETURN(RawClient client, RawClient::Connect(target.socket));
    clients.push_back(std::move(client));
  }
  SKV_RETURN_IF_ERROR(target.healthy->CheckServed());
  for (RawClient& client : clients) {
    SKV_RETURN_IF_ERROR(Expect(absl::IsUnavailable(client.Receive().status()),
                               "a client that says nothing is not closed"));
  }
  return absl::OkStatus();
}

absl::Status ClientThatNeverReads(Target& target) {
  SKV_ASSIGN_OR_RETURN(RawClient deaf, RawClient::Open(target.socket));
  const kvstore::Get get{std::vector(kvstore::kMaxFrameItems, target.NewSentence().item.key)};
  const std::string frame = kvstore::EncodeFrame({1, get}).value();
  int num_refused = 0;
  // Refused for as long as ten pauses: the store has stopped to read, too.
  while (num_refused < 10) {
    SKV_ASSIGN_OR_RETURN(const bool sent, deaf.socket().TrySend(frame));
    num_refused = sent ? 0 : num_refused + 1;
    if (!sent) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    SKV_RETURN_IF_ERROR(target.healthy->CheckServed());
  }
  return absl::OkStatus();
}

// As many leases as a session may have.
absl::Status LeaseHoarder(Target& target) {
  TestClient hoarder(target.socket);
  const Sentence sentence = target.NewSentence();
  SKV_RETURN_IF_ERROR(Expect(hoarder.Store(sentence).has_value(), "no room"));
  const uint32_t max_leases = hoarder.welcome().max_leases;
  for (uint32_t i = 1; i < max_leases; ++i) {
    SKV_RETURN_IF_ERROR(Expect(hoarder.Get({sentence.item.key}).code == StatusCode::kOk,
                               absl::StrCat("lease ", i, " of ", max_leases, " is refused")));
    if (i % 4096 == 0) SKV_RETURN_IF_ERROR(target.healthy->CheckServed());
  }
  SKV_RETURN_IF_ERROR(
      Expect(hoarder.Get({sentence.item.key}).code == StatusCode::kResourceExhausted,
             "a lease too many is given"));
  return target.healthy->CheckServed();
}

// Keys that are being written, until their writer dies.
absl::Status WaitHoarder(Target& target) {
  auto writer = std::make_unique<TestClient>(target.socket);
  TestClient hoarder(target.socket);
  kvstore::Wait wait;
  while (wait.keys.size() < kvstore::kMaxFrameItems) {
    const Sentence sentence = target.NewSentence();
    SKV_RETURN_IF_ERROR(Expect(writer->Create(sentence).code == StatusCode::kOk, "no room"));
    wait.keys.push_back(sentence.item.key);
  }
  SKV_RETURN_IF_ERROR(
      Expect(hoarder.Ask<WaitReply>(wait).code == StatusCode::kOk, "a wait is refused"));
  wait.keys = {target.NewSentence().item.key};
  SKV_RETURN_IF_ERROR(Expect(hoarder.Ask<WaitReply>(wait).code == StatusCode::kResourceExhausted,
                             "a session waits for more keys than it may"));
  SKV_RETURN_IF_ERROR(target.healthy->CheckServed());
  writer.reset();
  size_t num_told = 0;
  while (num_told < kvstore::kMaxFrameItems) {
    num_told += std::get<kvstore::Notice>(hoarder.Receive().body).abandoned.size();
  }
  return Expect(num_told == kvstore::kMaxFrameItems, "a wait has two ends");
}

// Nothing is read while the frames go out, so that the store has many requests at a time.
absl::Status PipelinedRequests(Target& target) {
  SKV_ASSIGN_OR_RETURN(RawClient client, RawClient::Open(target.socket));
  const std::string get =
      kvstore::EncodeFrame({7, kvstore::Get{{target.NewSentence().item.key}}}).value();
  for (int round = 0; round < 200; ++round) {
    int num_sent = 0;
    for (; num_sent < 500; ++num_sent) {
      SKV_ASSIGN_OR_RETURN(const bool sent, client.socket().TrySend(get));
      if (!sent) break;
    }
    SKV_RETURN_IF_ERROR(target.healthy->CheckServed());
    for (; num_sent > 0; --num_sent) {
      SKV_ASSIGN_OR_RETURN(const auto reply, client.Receive());
      SKV_RETURN_IF_ERROR(Expect(reply.request_id == 7, "a reply to another request"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<Attack> FloodAttacks() {
  return {{"thousands of connections", ThousandsOfConnections},
          {"connections that end at once", ConnectionsThatEndAtOnce},
          {"silent connections", SilentConnections},
          {"client that never reads", ClientThatNeverReads},
          {"lease hoarder", LeaseHoarder},
          {"wait hoarder", WaitHoarder},
          {"pipelined requests", PipelinedRequests}};
}

}  // namespace skv::hostile
