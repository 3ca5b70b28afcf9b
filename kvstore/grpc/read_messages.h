#pragma once
// The messages of one Read call, as bytes: what protobuf would make of ReadResponse, but without a
// copy of the blocks. Thread-safe, but for BlockMessages.

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "grpcpp/support/byte_buffer.h"
#include "kvstore/grpc/read_hold.h"
#include "skv/kvstore/v1/kvstore.pb.h"

namespace skv::kvstore {

// InvalidArgument: no such message.
absl::StatusOr<v1::ReadRequest> ParseReadRequest(const grpc::ByteBuffer& message);

// The first: how long the blocks are.
grpc::ByteBuffer SizesMessage(const HeldChain& chain);

// The others, one after the other.
class BlockMessages {
 public:
  static constexpr size_t kDataBytes = 1 << 20;

  // `hold` has its chain.
  explicit BlockMessages(std::shared_ptr<const ReadHold> hold) : hold_(std::move(hold)) {}

  bool is_done() const { return block_ == hold_->chain().blocks.size(); }
  // Up to kDataBytes of blocks, which lie where they are: the message, and copies of it, refer to
  // the hold. REQUIRES: !is_done().
  grpc::ByteBuffer Next();

 private:
  const std::shared_ptr<const ReadHold> hold_;
  // Of the next byte.
  size_t block_ = 0;
  size_t offset_ = 0;
};

}  // namespace skv::kvstore
