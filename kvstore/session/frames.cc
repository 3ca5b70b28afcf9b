#include "kvstore/session/frames.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "kvstore/block/block_header.h"
#include "kvstore/session/frame_codec.h"

namespace skv::kvstore {
namespace {

static_assert(kBlockVersion == 2 && kSessionVersion == 3, "they move together");
constexpr uint64_t kMagic = 0x73736573766b73;  // "skvsess" and a zero
constexpr uint64_t kMaxU32 = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kMaxU64 = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kMaxCode = static_cast<uint64_t>(absl::StatusCode::kUnauthenticated);

constexpr size_t kHeaderBytes = 4 + 8;
constexpr size_t kKeyBytes = 16;
constexpr size_t kCreateItemBytes = 48;
constexpr size_t kCreateReplyItemBytes = 32;
constexpr FieldRange kCreateCount = {1, kMaxCreateItems};
constexpr FieldRange kCount = {1, kMaxFrameItems};
static_assert(kHeaderBytes + 4 + kMaxCreateItems * kCreateItemBytes <= kMaxFrameBytes);
static_assert(kHeaderBytes + 4 + 4 + 8 + kMaxFrameItems * kKeyBytes <= kMaxFrameBytes);

constexpr std::string_view kNames[] = {"hello",   "welcome",       "create", "create reply",
                                       "seal",    "seal reply",    "get",    "get reply",
                                       "release", "release reply", "wait",   "wait reply",
                                       "notice",  "error",         "report", "report reply"};
static_assert(std::size(kNames) == std::variant_size_v<FrameBody>);

// Codec is a writer, which sees constants, or a reader.
template <typename Codec, typename T>
using Of = std::conditional_t<Codec::kReads, T, const T>;

template <typename Codec>
void CodeFields(Codec& codec, Of<Codec, absl::StatusCode>& code) {
  codec.U32("code", code, {0, kMaxCode});
}

template <typename Codec>
void LeaseFields(Codec& codec, Of<Codec, LeaseHandle>& lease) {
  codec.U64("lease", lease, {0, kMaxU64});
}

template <typename Codec>
void RangeFields(Codec& codec, Of<Codec, ArenaRange>& range, uint64_t min_bytes) {
  codec.U64("offset", range.offset, {0, kMaxArenaBytes});
  if (codec.ok()) codec.U64("bytes", range.num_bytes, {min_bytes, kMaxArenaBytes - range.offset});
}

template <typename Codec>
void KeyList(Codec& codec, std::string_view what, Of<Codec, std::vector<PrefixKey>>& keys,
             FieldRange count) {
  codec.List(what, keys, {count, kKeyBytes}, [&](auto& key) { codec.Bytes("key", key.bytes); });
}

// A field that has one value only.
template <typename Codec>
void Constant(Codec& codec, std::string_view what, uint64_t value, size_t num_bytes) {
  uint64_t field = value;
  if (num_bytes == 4) codec.U32(what, field, {value, value});
  if (num_bytes == 8) codec.U64(what, field, {value, value});
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, Hello>& hello) {
  Constant(codec, "magic", kMagic, 8);
  Constant(codec, "version", kSessionVersion, 4);
  codec.U32("pid", hello.pid, {0, kMaxU32});
  codec.U32("world_size", hello.world_size, {1, kMaxGroupSize});
  if (codec.ok()) codec.U32("rank", hello.rank, {0, hello.world_size - 1});
  codec.Bytes("layout", hello.layout.bytes);
  codec.Text("client_name", hello.client_name, {1, kMaxNameBytes}, TextKind::kName);
  codec.Text("tenant", hello.tenant, {0, kMaxNameBytes}, TextKind::kName);
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, Welcome>& welcome) {
  Constant(codec, "version", kSessionVersion, 4);
  codec.Bytes("epoch", welcome.epoch);
  codec.U64("arena_bytes", welcome.arena_bytes, {1, kMaxArenaBytes});
  codec.U32("max_leases", welcome.max_leases, {1, kMaxU32});
  codec.U32("max_requests", welcome.max_requests, {1, kMaxU32});
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, Create>& create) {
  codec.List("items", create.items, {kCreateCount, kCreateItemBytes}, [&](auto& item) {
    codec.Bytes("key", item.key.bytes);
    codec.Bytes("parent", item.parent.bytes);
    codec.U32("has_parent", item.has_parent, {0, 1});
    codec.U32("num_tokens", item.num_tokens, {1, kMaxBlockTokens});
    codec.U64("payload_bytes", item.payload_bytes, {1, kMaxPayloadBytes});
    codec.Require(item.has_parent || item.parent == PrefixKey{},
                  "a parent of zeros where has_parent is 0");
  });
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, CreateReply>& reply) {
  codec.List("items", reply.items, {kCreateCount, kCreateReplyItemBytes}, [&](auto& item) {
    CodeFields(codec, item.code);
    codec.U32("outcome", item.outcome, {0, static_cast<uint64_t>(CreateOutcome::kExists)});
    LeaseFields(codec, item.lease);
    RangeFields(codec, item.range, 0);
    const bool is_ok = item.code == absl::StatusCode::kOk;
    codec.Require(is_ok == (item.outcome != CreateOutcome::kFailed),
                  "outcome 0 exactly where the code is not 0");
    const bool is_created = item.outcome == CreateOutcome::kCreated;
    codec.Require(is_created == (item.lease != LeaseHandle::kNone) &&
                      is_created == (item.range.num_bytes != 0) &&
                      (is_created || item.range.offset == 0),
                  "lease and range exactly where the outcome is 1");
  });
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, Seal>& seal) {
  codec.List("items", seal.items, {kCount, 12}, [&](auto& item) {
    LeaseFields(codec, item.lease);
    codec.U32("is_tip", item.is_tip, {0, 1});
  });
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, SealReply>& reply) {
  codec.List("items", reply.items, {kCount, 8}, [&](auto& item) {
    CodeFields(codec, item.code);
    codec.U32("is_visible", item.is_visible, {0, 1});
    codec.Require(item.code == absl::StatusCode::kOk || !item.is_visible,
                  "is_visible 0 where the code is not 0");
  });
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, Get>& get) {
  KeyList(codec, "keys", get.keys, kCount);
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, GetReply>& reply) {
  CodeFields(codec, reply.code);
  LeaseFields(codec, reply.lease);
  codec.List("blocks", reply.blocks, {{0, kMaxFrameItems}, 16},
             [&](auto& range) { RangeFields(codec, range, 1); });
  codec.Require((reply.lease == LeaseHandle::kNone) == reply.blocks.empty(),
                "a lease exactly where there are blocks");
  codec.Require(reply.code == absl::StatusCode::kOk || reply.blocks.empty(),
                "no blocks where the code is not 0");
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, Release>& release) {
  codec.List("leases", release.leases, {kCount, 8},
             [&](auto& lease) { LeaseFields(codec, lease); });
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, ReleaseReply>& reply) {
  codec.List("codes", reply.codes, {kCount, 4}, [&](auto& code) { CodeFields(codec, code); });
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, Wait>& wait) {
  KeyList(codec, "keys", wait.keys, kCount);
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, WaitReply>& reply) {
  CodeFields(codec, reply.code);
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, Notice>& notice) {
  KeyList(codec, "sealed", notice.sealed, {0, kMaxFrameItems});
  if (!codec.ok()) return;
  const size_t num_sealed = notice.sealed.size();
  KeyList(codec, "abandoned", notice.abandoned,
          {num_sealed == 0 ? size_t{1} : 0, kMaxFrameItems - num_sealed});
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, Error>& error) {
  codec.U32("code", error.code, {1, kMaxCode});
  codec.Text("message", error.message, {1, kMaxMessageBytes}, TextKind::kMessage);
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, Report>& report) {
  KeyList(codec, "keys", report.keys, kCount);
}

template <typename Codec>
void Fields(Codec& codec, Of<Codec, ReportReply>& reply) {
  CodeFields(codec, reply.code);
}

FieldRange RequestIds(const FrameBody& body) {
  if (std::holds_alternative<Error>(body)) return {0, kMaxU64};
  if (std::holds_alternative<Hello>(body) || std::holds_alternative<Welcome>(body) ||
      std::holds_alternative<Notice>(body)) {
    return {0, 0};
  }
  return {1, kMaxU64};
}

template <size_t... kIndices>
FrameBody BodyOfIndex(size_t idx, std::index_sequence<kIndices...>) {
  FrameBody body;
  ((idx == kIndices ? void(body.emplace<kIndices>()) : void()), ...);
  return body;
}

}  // namespace

std::string_view FrameName(const FrameBody& body) { return kNames[body.index()]; }

absl::StatusOr<std::string> EncodeFrame(const Frame& frame) {
  FrameWriter writer;
  writer.set_frame_name(FrameName(frame.body));
  writer.U32("kind", frame.body.index() + 1, {1, std::size(kNames)});
  writer.U64("request_id", frame.request_id, RequestIds(frame.body));
  std::visit([&](const auto& body) { Fields(writer, body); }, frame.body);
  SKV_RETURN_IF_ERROR(writer.status());
  std::string bytes = writer.Take();
  SKV_CHECK(bytes.size() <= kMaxFrameBytes) << bytes.size() << " bytes";
  return bytes;
}

absl::StatusOr<Frame> DecodeFrame(std::string_view bytes) {
  FrameReader reader(bytes);
  reader.CheckRange("size", bytes.size(), {kHeaderBytes, kMaxFrameBytes});
  uint32_t kind = 1;
  reader.U32("kind", kind, {1, std::size(kNames)});
  SKV_RETURN_IF_ERROR(reader.status());
  Frame frame;
  frame.body = BodyOfIndex(kind - 1, std::make_index_sequence<std::variant_size_v<FrameBody>>());
  reader.set_frame_name(FrameName(frame.body));
  reader.U64("request_id", frame.request_id, RequestIds(frame.body));
  std::visit([&](auto& body) { Fields(reader, body); }, frame.body);
  reader.Finish();
  SKV_RETURN_IF_ERROR(reader.status());
  return frame;
}

Error ErrorOf(const absl::Status& status) {
  SKV_CHECK(!status.ok());
  Error error;
  // A code that a peer of this version does not know would make the frame unreadable.
  const auto code = static_cast<uint64_t>(status.code());
  error.code = code <= kMaxCode ? status.code() : absl::StatusCode::kUnknown;
  error.message = std::string(StdSv(status.message()).substr(0, kMaxMessageBytes));
  if (error.message.empty()) error.message = "no message";
  for (char& c : error.message) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return error;
}

}  // namespace skv::kvstore
