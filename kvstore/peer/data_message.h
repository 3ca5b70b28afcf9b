#pragma once
// Messages of a Read call that bring bytes of blocks: read without a copy but the last one, to
// where the bytes shall lie. Thread-safe.

#include <cstddef>
#include <span>

#include "absl/status/statusor.h"
#include "grpcpp/support/byte_buffer.h"

namespace skv::kvstore {

// Copies what `message` brings to the front of `place`; returns how many bytes that is.
// DataLoss: it is not a ReadResponse with the field `data` only, or brings more than `place` has
// room for; parts of `place` may have changed.
absl::StatusOr<size_t> CopyData(const grpc::ByteBuffer& message, std::span<std::byte> place);

}  // namespace skv::kvstore
