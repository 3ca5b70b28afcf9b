#pragma once
// What client and store tell each other over a session socket, as plain structs. frames.h encodes
// them, docs/formats/session.md is the table of bytes. Lists whose length is not stated hold 1 to
// kMaxFrameItems.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/block_key.h"

namespace skv::kvstore {

// Of the frames and of what they agree on, so of blocks too (kBlockVersion): two that know
// different blocks would agree on Hello and then fail at each Seal.
inline constexpr uint32_t kSessionVersion = 3;
inline constexpr size_t kMaxFrameBytes = 64 << 10;
inline constexpr size_t kMaxCreateItems = 1024;
inline constexpr size_t kMaxFrameItems = 4000;  // of every other list; both lists of a Notice
inline constexpr size_t kMaxNameBytes = 64;
inline constexpr size_t kMaxMessageBytes = 1024;
inline constexpr uint64_t kMaxArenaBytes = uint64_t{1} << 47;  // an address space of x86-64

// The store's name for a lease: index in the low half, generation in the high half. Nothing to
// clients but equal or not; only the session that it was given to may use it.
enum class LeaseHandle : uint64_t { kNone = 0 };

// Bytes of the arena, header of the block included. offset + num_bytes <= kMaxArenaBytes; whether
// they lie in this store's arena is for the client to check before it touches them.
struct ArenaRange {
  uint64_t offset = 0;
  uint64_t num_bytes = 0;  // 0: no range, and offset 0
  bool operator==(const ArenaRange&) const = default;
};

// A client's first frame.
struct Hello {
  std::string client_name;  // 1 to kMaxNameBytes printable ASCII characters, for logs
  std::string tenant;       // whose quota it uses; likewise, or empty: the common one
  LayoutId layout;
  uint32_t pid = 0;  // as the client sees it, for logs; the kernel's is peer credentials
  uint32_t world_size = 1;
  uint32_t rank = 0;  // below world_size
  bool operator==(const Hello&) const = default;
};

// The answer to Hello. The arena's descriptor comes with it.
struct Welcome {
  std::array<uint8_t, 16> epoch = {};  // random, of this store process: handles die with it
  uint64_t arena_bytes = 0;            // 1 to kMaxArenaBytes
  uint32_t max_leases = 0;             // of this session, at least 1
  uint32_t max_requests = 0;           // without a reply at one time, at least 1
  bool operator==(const Welcome&) const = default;
};

// A block to be written by this session's rank.
struct CreateItem {
  PrefixKey key;
  PrefixKey parent;            // zeros without has_parent
  bool has_parent = false;     // false: the first sentence of a chain
  uint32_t num_tokens = 0;     // 1 to kMaxBlockTokens
  uint64_t payload_bytes = 0;  // 1 to kMaxPayloadBytes
  bool operator==(const CreateItem&) const = default;
};
struct Create {
  std::vector<CreateItem> items;  // 1 to kMaxCreateItems; a parent may come before its child
  bool operator==(const Create&) const = default;
};

enum class CreateOutcome : uint32_t {
  kFailed = 0,
  kCreated = 1,
  kInProgress = 2,  // another writer has it: Wait for it
  kExists = 3,
};
// Replies have one item for each of the request's, in its order. kFailed exactly when the code is
// not OK; lease and range exactly when kCreated.
struct CreateReplyItem {
  absl::StatusCode code = absl::StatusCode::kOk;
  CreateOutcome outcome = CreateOutcome::kFailed;
  LeaseHandle lease = LeaseHandle::kNone;
  ArenaRange range;
  bool operator==(const CreateReplyItem&) const = default;
};
struct CreateReply {
  std::vector<CreateReplyItem> items;
  bool operator==(const CreateReply&) const = default;
};

struct SealItem {
  LeaseHandle lease = LeaseHandle::kNone;
  bool is_tip = false;  // the last that the client seals of this chain for now
  bool operator==(const SealItem&) const = default;
};
struct Seal {
  std::vector<SealItem> items;
  bool operator==(const Seal&) const = default;
};
struct SealReplyItem {
  absl::StatusCode code = absl::StatusCode::kOk;
  bool is_visible = false;  // all ranks have sealed; false when the code is not OK
  bool operator==(const SealReplyItem&) const = default;
};
struct SealReply {
  std::vector<SealReplyItem> items;
  bool operator==(const SealReply&) const = default;
};

// Asks for the longest visible prefix of a chain of keys.
struct Get {
  std::vector<PrefixKey> keys;
  bool operator==(const Get&) const = default;
};
// One lease holds all of the blocks. No lease exactly when there is none; none unless OK.
struct GetReply {
  absl::StatusCode code = absl::StatusCode::kOk;
  LeaseHandle lease = LeaseHandle::kNone;
  std::vector<ArenaRange> blocks;  // of the first keys, this rank's; none is empty
  bool operator==(const GetReply&) const = default;
};

struct Release {
  std::vector<LeaseHandle> leases;
  bool operator==(const Release&) const = default;
};
struct ReleaseReply {
  std::vector<absl::StatusCode> codes;
  bool operator==(const ReleaseReply&) const = default;
};

// Asks for a Notice once each of these is sealed or abandoned.
struct Wait {
  std::vector<PrefixKey> keys;
  bool operator==(const Wait&) const = default;
};
struct WaitReply {
  absl::StatusCode code = absl::StatusCode::kOk;
  bool operator==(const WaitReply&) const = default;
};

// Pushed by the store. At least one key, at most kMaxFrameItems in all.
struct Notice {
  std::vector<PrefixKey> sealed;     // a Get may find them
  std::vector<PrefixKey> abandoned;  // nobody writes them now
  bool operator==(const Notice&) const = default;
};

// The store's last frame: it closes the session.
struct Error {
  absl::StatusCode code = absl::StatusCode::kInternal;  // not kOk
  std::string message;  // 1 to kMaxMessageBytes bytes without control characters
  bool operator==(const Error&) const = default;
};

// Blocks of a Get reply that the client found not to be whole. The store looks for itself, and
// drops the entries of those that are not, some time after its reply.
struct Report {
  std::vector<PrefixKey> keys;
  bool operator==(const Report&) const = default;
};
struct ReportReply {
  absl::StatusCode code = absl::StatusCode::kOk;
  bool operator==(const ReportReply&) const = default;
};

}  // namespace skv::kvstore
