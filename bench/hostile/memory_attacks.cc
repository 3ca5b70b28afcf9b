#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/hostile/attack.h"
#include "bench/hostile/raw_client.h"
#include "common/status.h"
#include "kvstore/client/session_block_client.h"

namespace skv::hostile {
namespace {

using kvstore::CreateReplyItem;
using kvstore::LeasedChain;
using kvstore::Sentence;
using kvstore::TestClient;

constexpr size_t kPage = 4096;

// Who maps the arena must not lose it to another client, and cannot have it made read-only.
absl::Status CutOffArena(Target& target) {
  kvstore::Descriptor arena;
  SKV_ASSIGN_OR_RETURN(const RawClient client, RawClient::Open(target.socket, &arena));
  SKV_RETURN_IF_ERROR(Expect(ftruncate(arena.get(), 0) != 0, "a client can shrink the arena"));
  SKV_RETURN_IF_ERROR(Expect(ftruncate(arena.get(), 1 << 30) != 0, "a client can grow the arena"));
  return Expect(fcntl(arena.get(), F_ADD_SEALS, F_SEAL_WRITE) != 0,
                "a client can make the arena read-only");
}

// A worker's client: it must find the block whole, or not at all.
absl::StatusOr<size_t> BlocksFound(const Target& target, const Sentence& sentence) {
  const TimePoint deadline = RealClock().Now() + std::chrono::minutes(1);
  SKV_ASSIGN_OR_RETURN(const auto worker, kvstore::ConnectSessionBlockClient(
                                              target.socket, {.client_name = "worker"}, deadline));
  SKV_ASSIGN_OR_RETURN(const LeasedChain found,
                       worker->Get(std::array{sentence.item.key}, deadline));
  for (const kvstore::LeasedBlock& block : found.blocks()) {
    const auto is_right = [&](std::byte byte) { return byte == sentence.fill; };
    SKV_RETURN_IF_ERROR(Expect(std::ranges::all_of(block.payload, is_right),
                               "a worker was given bytes that nobody sealed"));
  }
  return found.size();
}

// A sealed block that nobody holds.
absl::StatusOr<CreateReplyItem> StoreVictim(TestClient& client, const Target& target,
                                            const Sentence& sentence) {
  const auto stored = client.Store(sentence);
  SKV_RETURN_IF_ERROR(Expect(stored.has_value(), "no room"));
  SKV_ASSIGN_OR_RETURN(const size_t found, BlocksFound(target, sentence));
  SKV_RETURN_IF_ERROR(Expect(found == 1, "a whole block is not found"));
  return *stored;
}

// Any byte of it, header or payload.
absl::Status ScribbledBlocks(Target& target) {
  TestClient client(target.socket);
  std::mt19937_64 random(1);
  for (int i = 0; i < 200; ++i) {
    const Sentence sentence = target.NewSentence(1024);
    SKV_ASSIGN_OR_RETURN(const CreateReplyItem victim, StoreVictim(client, target, sentence));
    const auto place = client.PlaceOf(victim.range);
    const size_t at = i % 2 == 0 ? random() % 64 : random() % place.size();
    place[at] ^= std::byte{1};
    SKV_ASSIGN_OR_RETURN(const size_t found, BlocksFound(target, sentence));
    // What lies between header and payload belongs to neither.
    SKV_RETURN_IF_ERROR(Expect(found == 0 || IsWhole(sentence, place),
                               absl::StrCat("byte ", at, " of a block was changed unnoticed")));
    place[at] ^= std::byte{1};
  }
  return absl::OkStatus();
}

absl::Status PunchedBlocks(Target& target) {
  kvstore::Descriptor arena;
  SKV_ASSIGN_OR_RETURN(const RawClient puncher, RawClient::Open(target.socket, &arena));
  TestClient client(target.socket);
  for (int i = 0; i < 20; ++i) {
    const Sentence sentence = target.NewSentence(16 * kPage);
    SKV_ASSIGN_OR_RETURN(const CreateReplyItem victim, StoreVictim(client, target, sentence));
    const uint64_t page = (victim.range.offset + 2 * kPage) / kPage * kPage;
    SKV_RETURN_IF_ERROR(Expect(fallocate(arena.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                         static_cast<off_t>(page), kPage) == 0,
                               "the hole cannot be punched: this attack is none"));
    SKV_ASSIGN_OR_RETURN(const size_t found, BlocksFound(target, sentence));
    SKV_RETURN_IF_ERROR(Expect(found == 0, "a block with a hole in it is found"));
  }
  return absl::OkStatus();
}

// The header changes all the time while the store looks at it.
absl::Status HeaderThatChanges(Target& target) {
  TestClient client(target.socket);
  for (int i = 0; i < 2000; ++i) {
    const Sentence sentence = target.NewSentence();
    const CreateReplyItem created = client.Create(sentence);
    client.Write(sentence, created.range);
    const auto place = client.PlaceOf(created.range);
    client.Send(kvstore::Seal{{{.lease = created.lease}}});
    for (size_t at = 0; at < 64; ++at) place[at] = std::byte{0xff};
    client.Write(sentence, created.range);
    const auto reply = std::get<kvstore::SealReply>(client.Receive().body).items[0];
    SKV_RETURN_IF_ERROR(Expect(reply.is_visible || absl::StatusCode::kInvalidArgument == reply.code,
                               "a seal has an answer that it cannot have"));
    if (reply.is_visible) client.Release(created.lease);
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<Attack> MemoryAttacks() {
  return {{"cut off arena", CutOffArena},
          {"scribbled blocks", ScribbledBlocks},
          {"punched blocks", PunchedBlocks},
          {"header that changes", HeaderThatChanges}};
}

}  // namespace skv::hostile
