#include "kvstore/block/block_header.h"

#include <cstring>
#include <limits>
#include <string>

#include "absl/strings/escaping.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::kvstore {
namespace {

using testing::HasSubstr;

std::span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

BlockHeader Header(std::vector<TokenId> tokens, const std::string& payload) {
  BlockHeader header;
  header.parent.bytes = {1, 2, 3};
  header.is_first = tokens.size() % 2 == 1;
  header.tokens = std::move(tokens);
  header.id = {ChildKey(header.parent, header.tokens), {{7, 8, 9}}, 1};
  header.group_size = 2;
  header.payload_bytes = payload.size();
  header.payload_checksum = PayloadChecksum(Bytes(payload));
  return header;
}

std::string Encode(const BlockHeader& header, const std::string& payload) {
  std::string bytes(HeaderBytes(static_cast<int>(header.tokens.size())), 'x');
  EXPECT_OK(EncodeBlockHeader(header, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()}));
  return bytes + payload;
}

std::vector<TokenId> Tokens(int count) {
  std::vector<TokenId> tokens(count);
  for (int i = 0; i < count; ++i) tokens[i] = 1000 * i;
  return tokens;
}

TEST(BlockHeaderTest, ReadsWhatItWroteForEveryNumberOfTokens) {
  const std::string payload(300, 'p');
  for (int count = 1; count <= kMaxBlockTokens; ++count) {
    SCOPED_TRACE(count);
    EXPECT_EQ(HeaderBytes(count) % kBlockAlignment, 0u);
    EXPECT_LE(HeaderBytes(count), kMaxHeaderBytes);
    const BlockHeader header = Header(Tokens(count), payload);
    const std::string bytes = Encode(header, payload) + "what follows";
    ASSERT_OK_AND_ASSIGN(const ParsedBlock block, ParseBlock(Bytes(bytes), "test"));
    EXPECT_EQ(block.header, header);
    EXPECT_EQ(block.payload.data(), Bytes(bytes).data() + HeaderBytes(count));
    EXPECT_EQ(block.payload.size(), payload.size());
  }
}

// docs/formats/block.md, byte for byte: blocks on disk outlive the program that wrote them.
TEST(BlockHeaderTest, TheBytesStayWhatTheyAre) {
  const std::string bytes = Encode(Header({1, 2, 258}, "payload"), "");
  EXPECT_EQ(absl::BytesToHexString(bytes),
            "736b76626c6f636b"                  // magic
            "0200000080000000"                  // version, header_bytes
            "0700000000000000"                  // payload_bytes
            "7b8d2d5bf061fe32"                  // payload checksum
            "e00195bce6b64ee22315702e9c94e03a"  // prefix key
            "01020300000000000000000000000000"  // parent key
            "07080900000000000000000000000000"  // layout id
            "0100000002000000"                  // rank, group_size
            "0300000001000000"                  // num_tokens, flags
            "a4b91fa1b3cc21df"                  // header checksum
            "010000000200000002010000"          // token ids
            "000000000000000000000000");
}

TEST(BlockHeaderTest, EveryTruncationIsDataLoss) {
  const std::string payload(100, 'p');
  const std::string bytes = Encode(Header(Tokens(20), payload), payload);
  for (size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    const std::string cut = bytes.substr(0, size);
    EXPECT_THAT(ParseBlock(Bytes(cut), "arena at 4096"),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("arena at 4096: block: ")));
  }
}

TEST(BlockHeaderTest, EveryBitFlipIsDataLoss) {
  const std::string payload(100, 'p');
  const std::string bytes = Encode(Header(Tokens(20), payload), payload);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    SCOPED_TRACE(bit);
    std::string damaged = bytes;
    damaged[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_THAT(ParseBlock(Bytes(damaged), "test"),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr(", expected ")));
  }
}

TEST(BlockHeaderTest, DamageIsNamed) {
  const std::string payload(100, 'p');
  const std::string bytes = Encode(Header(Tokens(20), payload), payload);
  const struct {
    const char* message;
    size_t offset;
    uint64_t value;
    size_t num_bytes;
  } kCases[] = {
      {"magic is ", 0, 1, 8},
      {"version is 1, expected 2", 8, 1, 4},
      {"header_bytes is 4294967295, expected 192 for 20 tokens", 12, 0xffffffff, 4},
      {"payload_bytes is 18446744073709551615, expected 1 to 68719476736", 16, ~uint64_t{0}, 8},
      {"payload_bytes is 0, expected 1", 16, 0, 8},
      {"rank is 2, expected 0 to 1", 80, 2, 4},
      {"rank is 4294967295, expected 0 to 1", 80, 0xffffffff, 4},
      {"group_size is 1025, expected 1 to 1024", 84, 1025, 4},
      {"group_size is 0, expected 1", 84, 0, 4},
      {"num_tokens is 129, expected 1 to 128", 88, 129, 4},
      {"num_tokens is 0, expected 1 to 128", 88, 0, 4},
      {"header_bytes is 192, expected 640 for 128 tokens", 88, 128, 4},
      {"header checksum is ", 32, 5, 8},
      {"payload checksum is ", 192, 5, 8},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    std::string damaged = bytes;
    std::memcpy(damaged.data() + c.offset, &c.value, c.num_bytes);
    EXPECT_THAT(ParseBlock(Bytes(damaged), "test"),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr(c.message)));
  }
}

TEST(BlockHeaderTest, WritesNothingThatItWouldNotRead) {
  const std::string payload(100, 'p');
  const auto with = [&](auto change) {
    BlockHeader header = Header({1, 2, 3}, payload);
    change(&header);
    return header;
  };
  const auto named = [&](std::vector<TokenId> tokens) {
    return Header(std::move(tokens), payload);
  };
  const struct {
    const char* message;
    BlockHeader header;
  } kCases[] = {
      {"num_tokens is 0, expected 1 to 128", named({})},
      {"num_tokens is 129, expected 1 to 128", named(Tokens(129))},
      {"token 1 is -7, expected 0 or more", named({1, -7})},
      {"rank is 2, expected 0 to 1", with([](BlockHeader* h) { h->id.rank = 2; })},
      {"rank is 4294967295", with([](BlockHeader* h) { h->id.rank = -1; })},
      {"group_size is 0", with([](BlockHeader* h) { h->group_size = 0; })},
      {"payload_bytes is 0", with([](BlockHeader* h) { h->payload_bytes = 0; })},
      {"prefix key is ", with([](BlockHeader* h) { h->tokens[0] = 9; })},
      {"prefix key is ", with([](BlockHeader* h) { h->parent.bytes[0] = 9; })},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    std::vector<std::byte> out(kMaxHeaderBytes, std::byte{'x'});
    EXPECT_THAT(EncodeBlockHeader(c.header, out),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
    EXPECT_EQ(out, std::vector<std::byte>(kMaxHeaderBytes, std::byte{'x'}));
  }
  std::vector<std::byte> small(HeaderBytes(3) - 1);
  EXPECT_THAT(EncodeBlockHeader(named({1, 2, 3}), small),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("room for the header has 127 bytes, expected 128")));
}

void PutHeaderChecksum(size_t header_bytes, std::string* bytes) {
  std::memset(bytes->data() + 96, 0, 8);
  const uint64_t checksum = PayloadChecksum(Bytes(*bytes).first(header_bytes));
  std::memcpy(bytes->data() + 96, &checksum, 8);
}

TEST(BlockHeaderTest, FlagsThatNobodyKnowsAreDataLoss) {
  std::string bytes = Encode(Header({1, 2, 3}, "p"), "p");
  bytes[92] = 2;
  PutHeaderChecksum(HeaderBytes(3), &bytes);
  EXPECT_THAT(ParseBlock(Bytes(bytes), "test"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("flags is 2, expected 0 to 1")));
}

// Correct checksums say that nothing was damaged, not that the writer was honest.
TEST(BlockHeaderTest, ABlockUnderAnotherBlocksNameIsDataLoss) {
  const std::string mine = Encode(Header({1, 2, 3}, "p"), "p");
  const std::string other = Encode(Header({4, 5, 6}, "p"), "p");
  std::string forged = mine;
  std::memcpy(forged.data() + 104, other.data() + 104, 12);
  PutHeaderChecksum(HeaderBytes(3), &forged);
  EXPECT_THAT(ParseBlock(Bytes(forged), "test"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("prefix key is ")));
}

}  // namespace
}  // namespace skv::kvstore
