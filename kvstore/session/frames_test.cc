#include "kvstore/session/frames.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "absl/strings/escaping.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/block/block_header.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

PrefixKey Key(uint8_t first) { return {{first}}; }
LeaseHandle Lease(uint64_t value) { return static_cast<LeaseHandle>(value); }

const std::string kKey5 = "05000000000000000000000000000000";
const std::string kKey6 = "06000000000000000000000000000000";

struct GoldenFrame {
  std::string hex;
  Frame frame;
};

// clang-format off
// docs/formats/session.md, byte for byte; one of each kind, in the order of their numbers.
std::vector<GoldenFrame> GoldenFrames() {
  const LayoutId layout = {{7, 8}};
  const CreateItem child = {Key(5), Key(6), true, 3, 258};
  const CreateItem first = {Key(6), {}, false, 128, 1};
  const CreateReplyItem created = {
      StatusCode::kOk, CreateOutcome::kCreated, Lease(0x100000002), {64, 4096}};
  const CreateReplyItem exists = {StatusCode::kOk, CreateOutcome::kExists, {}, {}};
  const CreateReplyItem failed = {
      StatusCode::kResourceExhausted, CreateOutcome::kFailed, {}, {}};
  return {
      {"01000000" "0000000000000000" "736b767365737300" "03000000" "09000000" "02000000"
       "01000000" "07080000000000000000000000000000" "01000000" "77" "03000000" "616263",
       {0, Hello{"w", "abc", layout, 9, 2, 1}}},
      {"02000000" "0000000000000000" "03000000" "0a000000000000000000000000000000"
       "0000010000000000" "00020000" "10000000",
       {0, Welcome{{10}, 65536, 512, 16}}},
      {"03000000" "0100000000000000" "02000000" + kKey5 + kKey6 +
           "01000000" "03000000" "0201000000000000" + kKey6 + std::string(32, '0') +
           "00000000" "80000000" "0100000000000000",
       {1, Create{{child, first}}}},
      {"04000000" "0100000000000000" "03000000"
       "00000000" "01000000" "0200000001000000" "4000000000000000" "0010000000000000"
       "00000000" "03000000" "0000000000000000" "0000000000000000" "0000000000000000"
       "08000000" "00000000" "0000000000000000" "0000000000000000" "0000000000000000",
       {1, CreateReply{{created, exists, failed}}}},
      {"05000000" "0200000000000000" "01000000" "0200000001000000" "01000000",
       {2, Seal{{{Lease(0x100000002), true}}}}},
      {"06000000" "0200000000000000" "02000000" "00000000" "01000000" "0a000000" "00000000",
       {2, SealReply{{{StatusCode::kOk, true}, {StatusCode::kAborted, false}}}}},
      {"07000000" "ffffffffffffffff" "02000000" + kKey5 + kKey6,
       {~uint64_t{0}, Get{{Key(5), Key(6)}}}},
      {"08000000" "ffffffffffffffff" "00000000" "0300000005000000" "01000000"
       "4000000000000000" "8000000000000000",
       {~uint64_t{0}, GetReply{StatusCode::kOk, Lease(0x500000003), {{64, 128}}}}},
      {"09000000" "0400000000000000" "01000000" "0300000005000000",
       {4, Release{{Lease(0x500000003)}}}},
      {"0a000000" "0400000000000000" "02000000" "00000000" "03000000",
       {4, ReleaseReply{{StatusCode::kOk, StatusCode::kInvalidArgument}}}},
      {"0b000000" "0500000000000000" "01000000" + kKey5, {5, Wait{{Key(5)}}}},
      {"0c000000" "0500000000000000" "08000000", {5, WaitReply{StatusCode::kResourceExhausted}}},
      {"0d000000" "0000000000000000" "01000000" + kKey5 + "01000000" + kKey6,
       {0, Notice{{Key(5)}, {Key(6)}}}},
      {"0e000000" "0500000000000000" "03000000" "03000000" "626164",
       {5, Error{StatusCode::kInvalidArgument, "bad"}}},
      {"0f000000" "0600000000000000" "02000000" + kKey5 + kKey6, {6, Report{{Key(5), Key(6)}}}},
      {"10000000" "0600000000000000" "0e000000", {6, ReportReply{StatusCode::kUnavailable}}},
  };
}
// clang-format on

template <typename T>
std::string Put(std::string bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
  return bytes;
}

std::string GoldenBytes(size_t kind) {
  return absl::HexStringToBytes(GoldenFrames()[kind - 1].hex);
}

TEST(FramesTest, TheBytesStayWhatTheyAre) {
  const std::vector<GoldenFrame> goldens = GoldenFrames();
  ASSERT_EQ(goldens.size(), std::variant_size_v<FrameBody>);
  for (size_t i = 0; i < goldens.size(); ++i) {
    const auto& [hex, frame] = goldens[i];
    SCOPED_TRACE(FrameName(frame.body));
    EXPECT_EQ(frame.body.index(), i);
    ASSERT_OK_AND_ASSIGN(const std::string bytes, EncodeFrame(frame));
    EXPECT_EQ(absl::BytesToHexString(bytes), hex);
    ASSERT_OK_AND_ASSIGN(const Frame decoded, DecodeFrame(bytes));
    EXPECT_EQ(decoded, frame);
  }
}

TEST(FramesTest, EveryTruncationAndEveryByteMoreIsRefused) {
  for (const GoldenFrame& golden : GoldenFrames()) {
    SCOPED_TRACE(FrameName(golden.frame.body));
    const std::string bytes = absl::HexStringToBytes(golden.hex);
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_THAT(DecodeFrame(bytes.substr(0, size)),
                  StatusIs(StatusCode::kInvalidArgument, HasSubstr(", expected ")));
    }
    EXPECT_THAT(DecodeFrame(bytes + '\0'),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr(", expected ")));
  }
}

// A flipped bit may give another frame, but one of a single form.
TEST(FramesTest, EveryBitFlipIsRefusedOrAnotherFrame) {
  for (const GoldenFrame& golden : GoldenFrames()) {
    const std::string bytes = absl::HexStringToBytes(golden.hex);
    for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      std::string damaged = bytes;
      damaged[bit / 8] ^= static_cast<char>(1 << bit % 8);
      const auto frame = DecodeFrame(damaged);
      if (!frame.ok()) continue;
      EXPECT_NE(*frame, golden.frame);
      ASSERT_OK_AND_ASSIGN(const std::string again, EncodeFrame(*frame));
      EXPECT_EQ(again, damaged);
    }
  }
}

TEST(FramesTest, DamageIsNamed) {
  const struct {
    const char* message;
    std::string bytes;
  } kCases[] = {
      {"size is 0, expected 12 to 65536", ""},
      {"size is 65537, expected 12 to 65536", std::string(65537, 'x')},
      {"kind is 0, expected 1 to 16", Put(GoldenBytes(7), 0, uint32_t{0})},
      {"kind is 17, expected 1 to 16", Put(GoldenBytes(7), 0, uint32_t{17})},
      {"hello: request_id is 1, expected 0 to 0", Put(GoldenBytes(1), 4, uint64_t{1})},
      {"get: request_id is 0, expected 1 to", Put(GoldenBytes(7), 4, uint64_t{0})},
      {"hello: magic is 1, expected", Put(GoldenBytes(1), 12, uint64_t{1})},
      {"hello: version is 2, expected 3 to 3", Put(GoldenBytes(1), 20, uint32_t{2})},
      {"hello: world_size is 1025, expected 1 to 1024", Put(GoldenBytes(1), 28, uint32_t{1025})},
      {"hello: world_size is 0, expected 1", Put(GoldenBytes(1), 28, uint32_t{0})},
      {"hello: rank is 2, expected 0 to 1", Put(GoldenBytes(1), 32, uint32_t{2})},
      {"hello: length of client_name is 65, expected 1 to 64",
       Put(GoldenBytes(1), 52, uint32_t{65})},
      {"hello: client_name at byte 56 has 8 bytes, expected 9",
       Put(GoldenBytes(1), 52, uint32_t{9})},
      {"hello: client_name has byte 10 at 0, expected printable ASCII",
       Put(GoldenBytes(1), 56, '\n')},
      {"welcome: arena_bytes is 0, expected 1 to", Put(GoldenBytes(2), 32, uint64_t{0})},
      {"create: number of items is 0, expected 1 to 1024", Put(GoldenBytes(3), 12, uint32_t{0})},
      {"create: number of items is 4294967295, expected 1 to 1024",
       Put(GoldenBytes(3), 12, ~uint32_t{0})},
      {"create: number of items is 3, the frame has room for 2",
       Put(GoldenBytes(3), 12, uint32_t{3})},
      {"create: has 112 bytes, expected 64", Put(GoldenBytes(3), 12, uint32_t{1})},
      {"create: items[1]: expected a parent of zeros where has_parent is 0",
       Put(GoldenBytes(3), 16 + 48 + 16, '\1')},
      {"create: items[0]: has_parent is 2, expected 0 to 1",
       Put(GoldenBytes(3), 16 + 32, uint32_t{2})},
      {"create: items[0]: num_tokens is 129, expected 1 to 128",
       Put(GoldenBytes(3), 16 + 36, uint32_t{129})},
      {"create: items[0]: payload_bytes is 0, expected 1 to 68719476736",
       Put(GoldenBytes(3), 16 + 40, uint64_t{0})},
      {"create reply: items[0]: code is 17, expected 0 to 16",
       Put(GoldenBytes(4), 16, uint32_t{17})},
      {"create reply: items[0]: outcome is 4, expected 0 to 3",
       Put(GoldenBytes(4), 20, uint32_t{4})},
      {"create reply: items[0]: expected outcome 0 exactly where the code is not 0",
       Put(GoldenBytes(4), 16, uint32_t{1})},
      {"create reply: items[0]: expected lease and range exactly where the outcome is 1",
       Put(GoldenBytes(4), 24, uint64_t{0})},
      {"create reply: items[1]: expected lease and range exactly where the outcome is 1",
       Put(GoldenBytes(4), 16 + 32 + 16, uint64_t{64})},
      {"create reply: items[0]: bytes is 18446744073709551615, expected 0 to 140737488355264",
       Put(GoldenBytes(4), 40, ~uint64_t{0})},
      {"create reply: items[0]: offset is 18446744073709551552, expected 0 to 140737488355328",
       Put(GoldenBytes(4), 32, ~uint64_t{63})},
      {"seal: items[0]: is_tip is 2, expected 0 to 1", Put(GoldenBytes(5), 24, uint32_t{2})},
      {"seal reply: items[1]: expected is_visible 0 where the code is not 0",
       Put(GoldenBytes(6), 28, uint32_t{1})},
      {"get: number of keys is 4001, expected 1 to 4000", Put(GoldenBytes(7), 12, uint32_t{4001})},
      {"get reply: expected a lease exactly where there are blocks",
       Put(GoldenBytes(8), 16, uint64_t{0})},
      {"get reply: expected no blocks where the code is not 0",
       Put(GoldenBytes(8), 12, uint32_t{5})},
      {"get reply: blocks[0]: bytes is 0, expected 1 to", Put(GoldenBytes(8), 36, uint64_t{0})},
      {"release reply: codes[1]: code is 17, expected 0 to 16",
       Put(GoldenBytes(10), 20, uint32_t{17})},
      {"notice: number of sealed is 4001, expected 0 to 4000",
       Put(GoldenBytes(13), 12, uint32_t{4001})},
      {"notice: number of abandoned is 4000, expected 0 to 3999",
       Put(GoldenBytes(13), 32, uint32_t{4000})},
      {"notice: number of abandoned is 0, expected 1 to 4000",
       Put(Put(GoldenBytes(13).substr(0, 20), 12, uint32_t{0}), 16, uint32_t{0})},
      {"error: code is 0, expected 1 to 16", Put(GoldenBytes(14), 12, uint32_t{0})},
      {"error: message has byte 27 at 1, expected no control characters",
       Put(GoldenBytes(14), 21, '\x1b')},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    EXPECT_THAT(DecodeFrame(c.bytes),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("session frame: ")));
    EXPECT_THAT(DecodeFrame(c.bytes), StatusIs(StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
}

TEST(FramesTest, WritesNothingThatItWouldNotRead) {
  const struct {
    const char* message;
    Frame frame;
  } kCases[] = {
      {"get: request_id is 0", {0, Get{{Key(1)}}}},
      {"get: number of keys is 0, expected 1 to 4000", {1, Get{}}},
      {"get: number of keys is 4001", {1, Get{std::vector<PrefixKey>(4001)}}},
      {"create: number of items is 1025", {1, Create{std::vector<CreateItem>(1025)}}},
      {"create: items[0]: num_tokens is 0", {1, Create{{CreateItem{}}}}},
      {"hello: length of client_name is 0", {0, Hello{}}},
      {"hello: rank is 1, expected 0 to 0", {0, Hello{"w", "", {}, 1, 1, 1}}},
      {"hello: tenant has byte 195 at 0", {0, Hello{"w", "\xc3\xa4", {}}}},
      {"create reply: items[0]: expected outcome 0", {1, CreateReply{{CreateReplyItem{}}}}},
      {"seal reply: items[0]: code is 42", {1, SealReply{{{StatusCode(42), false}}}}},
      {"release reply: codes[0]: code is 18446744073709551615",
       {1, ReleaseReply{{StatusCode(-1)}}}},
      {"notice: number of abandoned is 0, expected 1 to 4000", {0, Notice{}}},
      {"error: length of message is 1025",
       {0, Error{StatusCode::kInternal, std::string(1025, 'x')}}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    EXPECT_THAT(EncodeFrame(c.frame), StatusIs(StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
}

TEST(FramesTest, EveryLongestListFitsIntoAFrame) {
  const CreateItem create = {Key(1), Key(2), true, 1, 1};
  const CreateReplyItem created = {StatusCode::kOk, CreateOutcome::kCreated, Lease(1), {0, 64}};
  const std::vector<PrefixKey> keys(kMaxFrameItems);
  const Frame kFrames[] = {
      {1, Create{std::vector<CreateItem>(kMaxCreateItems, create)}},
      {1, CreateReply{std::vector<CreateReplyItem>(kMaxCreateItems, created)}},
      {1, Seal{std::vector<SealItem>(kMaxFrameItems)}},
      {1, SealReply{std::vector<SealReplyItem>(kMaxFrameItems)}},
      {1, Get{keys}},
      {1, GetReply{StatusCode::kOk, Lease(1), std::vector<ArenaRange>(kMaxFrameItems, {0, 1})}},
      {1, Release{std::vector<LeaseHandle>(kMaxFrameItems)}},
      {1, ReleaseReply{std::vector<StatusCode>(kMaxFrameItems)}},
      {1, Wait{keys}},
      {0, Notice{keys, {}}},
      {0, Notice{{}, keys}},
      {0, Notice{std::vector<PrefixKey>(1), std::vector<PrefixKey>(kMaxFrameItems - 1)}},
  };
  for (const Frame& frame : kFrames) {
    SCOPED_TRACE(FrameName(frame.body));
    ASSERT_OK_AND_ASSIGN(const std::string bytes, EncodeFrame(frame));
    EXPECT_LE(bytes.size(), kMaxFrameBytes);
    ASSERT_OK_AND_ASSIGN(const Frame decoded, DecodeFrame(bytes));
    EXPECT_EQ(decoded, frame);
  }
}

class RandomFrames {
 public:
  explicit RandomFrames(uint32_t seed) : random_(seed) {}

  Frame Next(size_t kind_idx) {
    const uint64_t id = Number(1, ~uint64_t{0});
    switch (kind_idx) {
      case 0: {
        const auto world_size = static_cast<uint32_t>(Number(1, kMaxGroupSize));
        const auto rank = static_cast<uint32_t>(Number(0, world_size - 1));
        return {0, Hello{Text(1, ' ', '~'),
                         Text(0, ' ', '~'),
                         {AnyKey().bytes},
                         static_cast<uint32_t>(Number(0, UINT32_MAX)),
                         world_size,
                         rank}};
      }
      case 1:
        return {0, Welcome{AnyKey().bytes, Number(1, kMaxArenaBytes), 1, UINT32_MAX}};
      case 2:
        return {id, Create{Some<CreateItem>(1, [&] { return AnyCreate(); })}};
      case 3:
        return {id, CreateReply{Some<CreateReplyItem>(1, [&] { return AnyCreated(); })}};
      case 4:
        return {id, Seal{Some<SealItem>(1, [&] { return SealItem{AnyLease(), Flag()}; })}};
      case 5:
        return {id, SealReply{Some<SealReplyItem>(1, [&] {
                  const StatusCode code = Code();
                  return SealReplyItem{code, code == StatusCode::kOk && Flag()};
                })}};
      case 6:
        return {id, Get{Keys(1)}};
      case 7:
        return {id, GetReply{StatusCode::kOk, AnyLease(),
                             Some<ArenaRange>(1, [&] { return AnyRange(); })}};
      case 8:
        return {id, Release{Some<LeaseHandle>(1, [&] { return AnyLease(); })}};
      case 9:
        return {id, ReleaseReply{Some<StatusCode>(1, [&] { return Code(); })}};
      case 10:
        return {id, Wait{Keys(1)}};
      case 11:
        return {id, WaitReply{Code()}};
      case 12:
        return {0, Notice{Keys(0), Keys(1)}};
      case 13:
        return {id, Error{StatusCode::kInternal, Text(1, ' ', '~') + "\xc3\xa4"}};
      case 14:
        return {id, Report{Keys(1)}};
      default:
        return {id, ReportReply{Code()}};
    }
  }

 private:
  uint64_t Number(uint64_t min, uint64_t max) {
    return std::uniform_int_distribution<uint64_t>(min, max)(random_);
  }
  bool Flag() { return Number(0, 1) == 1; }
  StatusCode Code() { return static_cast<StatusCode>(Number(0, 16)); }
  LeaseHandle AnyLease() { return Lease(Number(1, ~uint64_t{0})); }
  ArenaRange AnyRange() {
    const uint64_t offset = Number(0, kMaxArenaBytes - 1);
    return {offset, Number(1, kMaxArenaBytes - offset)};
  }
  PrefixKey AnyKey() {
    PrefixKey key;
    for (uint8_t& byte : key.bytes) byte = static_cast<uint8_t>(Number(0, 255));
    return key;
  }
  CreateItem AnyCreate() {
    const bool has_parent = Flag();
    return {AnyKey(), has_parent ? AnyKey() : PrefixKey{}, has_parent,
            static_cast<uint32_t>(Number(1, kMaxBlockTokens)), Number(1, kMaxPayloadBytes)};
  }
  CreateReplyItem AnyCreated() {
    const auto outcome = static_cast<CreateOutcome>(Number(0, 3));
    if (outcome == CreateOutcome::kFailed) return {StatusCode::kAborted, outcome, {}, {}};
    if (outcome == CreateOutcome::kCreated)
      return {StatusCode::kOk, outcome, AnyLease(), AnyRange()};
    return {StatusCode::kOk, outcome, {}, {}};
  }
  std::string Text(size_t min_size, char min, char max) {
    std::string text(Number(min_size, kMaxNameBytes), ' ');
    for (char& c : text) c = static_cast<char>(Number(min, max));
    return text;
  }
  template <typename T, typename Make>
  std::vector<T> Some(size_t min_size, Make make) {
    std::vector<T> list(Number(min_size, 50));
    for (T& item : list) item = make();
    return list;
  }
  std::vector<PrefixKey> Keys(size_t min_size) {
    return Some<PrefixKey>(min_size, [&] { return AnyKey(); });
  }

  std::mt19937_64 random_;
};

TEST(FramesTest, RandomFramesComeBack) {
  RandomFrames random(1);
  for (int i = 0; i < 200; ++i) {
    for (size_t kind_idx = 0; kind_idx < std::variant_size_v<FrameBody>; ++kind_idx) {
      const Frame frame = random.Next(kind_idx);
      ASSERT_EQ(frame.body.index(), kind_idx);
      ASSERT_OK_AND_ASSIGN(const std::string bytes, EncodeFrame(frame));
      ASSERT_OK_AND_ASSIGN(const Frame decoded, DecodeFrame(bytes));
      ASSERT_EQ(decoded, frame) << FrameName(frame.body);
    }
  }
}

TEST(FramesTest, EveryStatusBecomesAnErrorThatCanBeSent) {
  const absl::Status kStatuses[] = {absl::InvalidArgumentError("name 'a\nb' is wrong"),
                                    absl::InternalError(""),
                                    absl::Status(static_cast<StatusCode>(77), "x"),
                                    absl::AbortedError(std::string(5000, '\x7f'))};
  for (const absl::Status& status : kStatuses) {
    ASSERT_OK_AND_ASSIGN(const std::string bytes, EncodeFrame({0, ErrorOf(status)}));
    EXPECT_OK(DecodeFrame(bytes));
  }
  EXPECT_EQ(ErrorOf(kStatuses[0]), (Error{StatusCode::kInvalidArgument, "name 'a?b' is wrong"}));
}

}  // namespace
}  // namespace skv::kvstore
