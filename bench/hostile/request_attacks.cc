#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/hostile/attack.h"
#include "common/status.h"

namespace skv::hostile {
namespace {

using absl::StatusCode;
using kvstore::BlockHeader;
using kvstore::CreateOutcome;
using kvstore::CreateReply;
using kvstore::CreateReplyItem;
using kvstore::GetReply;
using kvstore::Hello;
using kvstore::LeaseHandle;
using kvstore::Sentence;
using kvstore::TestClient;

absl::Status ExpectCode(StatusCode got, StatusCode expected, std::string_view what) {
  return Expect(got == expected, absl::StrCat(Sv(what), ": code ", got, ", expected ", expected));
}

absl::Status Oversize(Target& target) {
  TestClient client(target.socket);
  for (const uint64_t payload_bytes :
       {Target::kArenaBytes, 4 * Target::kArenaBytes, kvstore::kMaxPayloadBytes}) {
    const CreateReplyItem reply = client.Create(target.NewSentence(payload_bytes));
    SKV_RETURN_IF_ERROR(ExpectCode(reply.code, StatusCode::kInvalidArgument,
                                   absl::StrCat("a payload of ", payload_bytes, " bytes")));
  }
  return absl::OkStatus();
}

// As many as a frame may have, for more room than there is: some are created, none is half there.
absl::Status MoreThanThereIs(Target& target) {
  TestClient client(target.socket);
  kvstore::Create create;
  for (size_t i = 0; i < kvstore::kMaxCreateItems; ++i) {
    create.items.push_back(target.NewSentence(2 * Target::kLargePayload).item);
  }
  int num_created = 0;
  for (const CreateReplyItem& item : client.Ask<CreateReply>(create).items) {
    if (item.outcome == CreateOutcome::kCreated) {
      ++num_created;
    } else {
      SKV_RETURN_IF_ERROR(ExpectCode(item.code, StatusCode::kResourceExhausted, "no room"));
    }
  }
  return Expect(num_created > 400 && num_created < 512, "the arena holds more than there is");
}

absl::Status MissingParent(Target& target) {
  TestClient client(target.socket);
  const Sentence parent = target.NewSentence();
  const Sentence child = kvstore::MakeSentence(target.next_number++, &parent);
  return ExpectCode(client.Create(child).code, StatusCode::kNotFound, "a child without parent");
}

absl::Status OtherParentOfOneKey(Target& target) {
  TestClient client(target.socket);
  const Sentence first = target.NewSentence(), second = target.NewSentence();
  SKV_RETURN_IF_ERROR(Expect(client.Store(first).has_value(), "no room"));
  SKV_RETURN_IF_ERROR(Expect(client.Store(second).has_value(), "no room"));
  Sentence child = kvstore::MakeSentence(target.next_number++, &first);
  SKV_RETURN_IF_ERROR(Expect(client.Store(child).has_value(), "no room"));
  child.item.parent = second.item.key;
  return ExpectCode(client.Create(child).code, StatusCode::kInvalidArgument,
                    "a key with another parent");
}

// Blocks of one layout, rank or group are not there for others.
absl::Status WrongLayout(Target& target) {
  const Sentence sentence = target.NewSentence();
  TestClient client(target.socket);
  SKV_RETURN_IF_ERROR(Expect(client.Store(sentence).has_value(), "no room"));
  Hello other = kvstore::TestHello();
  other.layout.bytes[0] = 1;
  TestClient stranger(target.socket, other);
  SKV_RETURN_IF_ERROR(Expect(stranger.Get({sentence.item.key}) == GetReply{},
                             "a block of another layout is found"));
  const Sentence unsealed = target.NewSentence();
  client.Create(unsealed);
  Hello group = kvstore::TestHello();
  group.world_size = 2;
  TestClient member(target.socket, group);
  return ExpectCode(member.Create(unsealed).code, StatusCode::kInvalidArgument,
                    "a block of a group of another size");
}

// What lies in the arena is not the block that was created.
absl::Status WrongHeader(Target& target) {
  const std::pair<const char*, std::function<void(BlockHeader&)>> kCases[] = {
      {"wrong key",
       [](BlockHeader& header) {
         header.tokens[0] += 1;
         header.id.prefix = ChildKey(header.parent, header.tokens);
       }},
      {"wrong layout", [](BlockHeader& header) { header.id.layout.bytes[3] ^= 1; }},
      {"wrong rank",
       [](BlockHeader& header) {
         header.group_size = 2;
         header.id.rank = 1;
       }},
      {"wrong number of tokens",
       [](BlockHeader& header) {
         header.tokens.push_back(1);
         header.id.prefix = ChildKey(header.parent, header.tokens);
       }},
      {"wrong payload", [](BlockHeader& header) { header.payload_bytes += 64; }}};
  TestClient client(target.socket);
  for (const auto& [name, change] : kCases) {
    const Sentence sentence = target.NewSentence(256);
    const CreateReplyItem created = client.Create(sentence);
    BlockHeader header = HeaderOf(sentence, kvstore::TestHello());
    change(header);
    SKV_RETURN_IF_ERROR(EncodeBlockHeader(header, client.PlaceOf(created.range)));
    SKV_RETURN_IF_ERROR(
        ExpectCode(client.Seal(created.lease).code, StatusCode::kInvalidArgument, name));
    SKV_RETURN_IF_ERROR(
        ExpectCode(client.Release(created.lease), StatusCode::kInvalidArgument, "its lease"));
    SKV_RETURN_IF_ERROR(
        Expect(client.Get({sentence.item.key}) == GetReply{}, "a block that was refused is found"));
  }
  return absl::OkStatus();
}

// Any of its first bytes, which a header's checksum covers.
absl::Status DamagedHeader(Target& target) {
  TestClient client(target.socket);
  for (size_t at = 0; at < 64; ++at) {
    const Sentence sentence = target.NewSentence();
    const CreateReplyItem created = client.Create(sentence);
    client.Write(sentence, created.range);
    client.PlaceOf(created.range)[at] ^= std::byte{0x10};
    SKV_RETURN_IF_ERROR(ExpectCode(client.Seal(created.lease).code, StatusCode::kInvalidArgument,
                                   absl::StrCat("a header with another byte ", at)));
  }
  return absl::OkStatus();
}

absl::Status UnwrittenBlock(Target& target) {
  TestClient client(target.socket);
  const CreateReplyItem created = client.Create(target.NewSentence());
  return ExpectCode(client.Seal(created.lease).code, StatusCode::kInvalidArgument,
                    "a block without header");
}

absl::Status DoubleSeal(Target& target) {
  TestClient client(target.socket);
  const Sentence sentence = target.NewSentence();
  const auto stored = client.Store(sentence);
  SKV_RETURN_IF_ERROR(Expect(stored.has_value(), "no room"));
  SKV_RETURN_IF_ERROR(
      ExpectCode(client.Seal(stored->lease).code, StatusCode::kInvalidArgument, "a second seal"));
  return Expect(IsWhole(sentence, client.PlaceOf(stored->range)), "the block has other bytes");
}

// The lease of another client, and all that look like it.
absl::Status ForeignLease(Target& target) {
  TestClient owner(target.socket), thief(target.socket);
  const Sentence sentence = target.NewSentence();
  const auto stored = owner.Store(sentence);
  SKV_RETURN_IF_ERROR(Expect(stored.has_value(), "no room"));
  const auto lease = static_cast<uint64_t>(stored->lease);
  kvstore::Release guesses;
  for (uint64_t i = 0; i < 2000; ++i) {
    guesses.leases.push_back(LeaseHandle{lease + i});          // other places
    guesses.leases.push_back(LeaseHandle{lease + (i << 32)});  // other generations
  }
  for (const StatusCode code : thief.Ask<kvstore::ReleaseReply>(guesses).codes) {
    SKV_RETURN_IF_ERROR(ExpectCode(code, StatusCode::kInvalidArgument, "a release of another's"));
  }
  SKV_RETURN_IF_ERROR(
      ExpectCode(thief.Seal(stored->lease).code, StatusCode::kInvalidArgument, "a foreign seal"));
  SKV_RETURN_IF_ERROR(Expect(IsWhole(sentence, owner.PlaceOf(stored->range)), "other bytes"));
  return ExpectCode(owner.Release(stored->lease), StatusCode::kOk, "the owner's release");
}

absl::Status ReleasedLease(Target& target) {
  TestClient client(target.socket);
  const auto stored = client.Store(target.NewSentence());
  SKV_RETURN_IF_ERROR(Expect(stored.has_value(), "no room"));
  SKV_RETURN_IF_ERROR(ExpectCode(client.Release(stored->lease), StatusCode::kOk, "a release"));
  // Its place is used again, under another generation.
  const auto again = client.Store(target.NewSentence());
  SKV_RETURN_IF_ERROR(Expect(again.has_value(), "no room"));
  return ExpectCode(client.Release(stored->lease), StatusCode::kInvalidArgument,
                    "a second release");
}

}  // namespace

std::vector<Attack> RequestAttacks() {
  return {{"oversize block", Oversize},
          {"more blocks than there is room", MoreThanThereIs},
          {"missing parent", MissingParent},
          {"other parent of one key", OtherParentOfOneKey},
          {"wrong layout or group", WrongLayout},
          {"wrong header", WrongHeader},
          {"damaged header", DamagedHeader},
          {"unwritten block", UnwrittenBlock},
          {"double seal", DoubleSeal},
          {"foreign lease", ForeignLease},
          {"released lease", ReleasedLease}};
}

}  // namespace skv::hostile
