#include <algorithm>
#include <csignal>
#include <vector>

#include "bench/hostile/attack.h"
#include "bench/hostile/client_process.h"
#include "common/status.h"

namespace skv::hostile {
namespace {

using kvstore::CreateOutcome;
using kvstore::CreateReplyItem;
using kvstore::GetReply;
using kvstore::Notice;
using kvstore::Sentence;
using kvstore::TestClient;
using kvstore::WaitReply;

// Creates the block of `sentence`, writes half of it, and gives the turn away.
std::function<bool(const std::function<void()>&)> HalfWriter(const std::string& socket,
                                                             const Sentence& sentence) {
  return [&socket, &sentence](const auto& yield) {
    TestClient client(socket);
    const CreateReplyItem created = client.Create(sentence);
    client.Write(sentence, created.range);
    const auto place = client.PlaceOf(created.range);
    std::ranges::fill(place.subspan(place.size() / 2), std::byte{0});
    yield();
    client.Write(sentence, created.range);
    const bool is_visible = client.Seal(created.lease).is_visible;
    yield();
    return is_visible;
  };
}

absl::Status ExpectVanished(TestClient& client, const Sentence& sentence) {
  SKV_RETURN_IF_ERROR(
      Expect(client.Receive().body == kvstore::FrameBody(Notice{.abandoned = {sentence.item.key}}),
             "who waited was not told that the writer is gone"));
  SKV_RETURN_IF_ERROR(Expect(client.Get({sentence.item.key}) == GetReply{},
                             "the unsealed block of a dead writer is found"));
  const auto stored = client.Store(sentence);
  SKV_RETURN_IF_ERROR(Expect(stored.has_value(), "nobody else may write the block"));
  return Expect(IsWhole(sentence, client.PlaceOf(stored->range)), "the block has other bytes");
}

absl::Status KillWriter(Target& target, bool is_stopped) {
  const Sentence sentence = target.NewSentence(Target::kLargePayload);
  ClientProcess writer(HalfWriter(target.socket, sentence));
  SKV_RETURN_IF_ERROR(Expect(writer.WaitForYield(), "the writer has ended"));
  if (is_stopped) writer.Signal(SIGSTOP);
  TestClient client(target.socket);
  SKV_RETURN_IF_ERROR(Expect(client.Create(sentence).outcome == CreateOutcome::kInProgress,
                             "two may write one block"));
  SKV_RETURN_IF_ERROR(Expect(
      client.Ask<WaitReply>(kvstore::Wait{{sentence.item.key}}).code == absl::StatusCode::kOk,
      "nobody can wait for the writer"));
  SKV_RETURN_IF_ERROR(target.healthy->CheckServed());
  writer.Signal(SIGKILL);
  writer.Join();
  return ExpectVanished(client, sentence);
}

absl::Status DeadWriter(Target& target) { return KillWriter(target, false); }
absl::Status StoppedWriterIsKilled(Target& target) { return KillWriter(target, true); }

// Whoever cannot run must not have its memory given away: three times as much as there is room for.
absl::Status StoppedReader(Target& target) {
  constexpr int kHeld = 8;
  std::vector<Sentence> held;
  held.reserve(kHeld);
  for (int i = 0; i < kHeld; ++i) held.push_back(target.NewSentence(Target::kLargePayload));
  ClientProcess reader([&](const auto& yield) {
    TestClient client(target.socket);
    std::vector<CreateReplyItem> blocks;
    blocks.reserve(kHeld);
    for (const Sentence& sentence : held) blocks.push_back(client.Store(sentence).value());
    yield();
    for (size_t i = 0; i < held.size(); ++i) {
      if (!IsWhole(held[i], client.PlaceOf(blocks[i].range))) return false;
    }
    return true;
  });
  SKV_RETURN_IF_ERROR(Expect(reader.WaitForYield(), "the reader has ended"));
  reader.Signal(SIGSTOP);
  TestClient other(target.socket);
  for (int i = 0; i < 3000; ++i) {
    const auto stored = other.Store(target.NewSentence(Target::kLargePayload));
    SKV_RETURN_IF_ERROR(Expect(stored.has_value(), "the store takes no more blocks"));
    other.Release(stored->lease);
  }
  reader.Signal(SIGCONT);
  reader.GoOn();
  return Expect(reader.Join(), "a stopped reader saw recycled memory");
}

// While the writer stands still, others fill all that is left, and hold it.
absl::Status StoppedWriter(Target& target) {
  const Sentence unsealed = target.NewSentence(Target::kLargePayload);
  ClientProcess writer(HalfWriter(target.socket, unsealed));
  SKV_RETURN_IF_ERROR(Expect(writer.WaitForYield(), "the writer has ended"));
  writer.Signal(SIGSTOP);
  TestClient other(target.socket);
  std::vector<std::pair<Sentence, CreateReplyItem>> filled;
  while (true) {
    const Sentence sentence = target.NewSentence(Target::kLargePayload);
    const auto stored = other.Store(sentence);
    if (!stored.has_value()) break;
    filled.emplace_back(sentence, *stored);
  }
  SKV_RETURN_IF_ERROR(Expect(filled.size() > 900, "the store is full too early"));
  writer.Signal(SIGCONT);
  writer.GoOn();
  SKV_RETURN_IF_ERROR(Expect(writer.WaitForYield(), "the writer cannot go on"));
  for (const auto& [sentence, block] : filled) {
    SKV_RETURN_IF_ERROR(Expect(IsWhole(sentence, other.PlaceOf(block.range)),
                               "a stopped writer wrote into another block"));
  }
  const GetReply got = other.Get({unsealed.item.key});
  SKV_RETURN_IF_ERROR(Expect(got.blocks.size() == 1, "what the writer sealed is not found"));
  SKV_RETURN_IF_ERROR(
      Expect(IsWhole(unsealed, other.PlaceOf(got.blocks[0])), "the sealed block has other bytes"));
  writer.GoOn();
  return Expect(writer.Join(), "the writer could not seal");
}

}  // namespace

std::vector<Attack> ProcessAttacks() {
  return {{"dead writer", DeadWriter},
          {"stopped writer is killed", StoppedWriterIsKilled},
          {"stopped reader", StoppedReader},
          {"stopped writer", StoppedWriter}};
}

}  // namespace skv::hostile
