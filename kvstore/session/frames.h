#pragma once
// The packets of a session socket: one frame is one packet of at most kMaxFrameBytes, numbers are
// little-endian, and each frame has one form (docs/formats/session.md).
//
// All functions are thread-safe.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/session/frame_types.h"

namespace skv::kvstore {

// In the order of their numbers on the wire, which begin at 1.
using FrameBody =
    std::variant<Hello, Welcome, Create, CreateReply, Seal, SealReply, Get, GetReply, Release,
                 ReleaseReply, Wait, WaitReply, Notice, Error, Report, ReportReply>;

struct Frame {
  // Of a request: chosen by the client, not 0, and echoed in its reply. Hello, Welcome and Notice
  // have 0. An Error has that of the request it answers, or 0.
  uint64_t request_id = 0;
  FrameBody body;
  bool operator==(const Frame&) const = default;
};

// "create reply".
std::string_view FrameName(const FrameBody& body);

// InvalidArgument: a field is out of the range that frame_types.h states.
absl::StatusOr<std::string> EncodeFrame(const Frame& frame);

// Accepts any bytes; allocates at most in proportion to their number. What it returns encodes to
// the same bytes. InvalidArgument, with what, which, got and expected: not a frame of this version.
// Whether its sender may send it now, and whether its keys, leases and ranges are there, is for the
// receiver to check.
absl::StatusOr<Frame> DecodeFrame(std::string_view bytes);

// An Error that can be encoded, whatever the message: control characters become '?', what is too
// long is cut. REQUIRES: !status.ok().
Error ErrorOf(const absl::Status& status);

}  // namespace skv::kvstore
