#include "kvstore/grpc/read_messages.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace skv::kvstore {
namespace {

using Bytes = std::span<const std::byte>;

// Field number and wire type "length-delimited".
constexpr char kDataTag = v1::ReadResponse::kDataFieldNumber << 3 | 2;

// Begins a message whose only field is `data`, of so many bytes.
grpc::Slice HeadOf(size_t num_bytes) {
  std::string head(1, kDataTag);
  for (; num_bytes >= 0x80; num_bytes >>= 7) head.push_back(static_cast<char>(num_bytes | 0x80));
  head.push_back(static_cast<char>(num_bytes));
  return grpc::Slice(head);
}

grpc::Slice SliceOf(Bytes bytes, std::shared_ptr<const ReadHold> hold) {
  using Owner = std::shared_ptr<const ReadHold>;
  return grpc::Slice(
      const_cast<std::byte*>(bytes.data()), bytes.size(),  // gRPC only reads them
      [](void* owner) { delete static_cast<Owner*>(owner); }, new Owner(std::move(hold)));
}

}  // namespace

absl::StatusOr<v1::ReadRequest> ParseReadRequest(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  v1::ReadRequest request;
  if (message.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    if (request.ParseFromString(bytes)) return request;
  }
  return absl::InvalidArgumentError("read: the request is no ReadRequest");
}

grpc::ByteBuffer SizesMessage(const HeldChain& chain) {
  v1::ReadResponse message;
  for (const Bytes block : chain.blocks) message.add_block_bytes(block.size());
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

grpc::ByteBuffer BlockMessages::Next() {
  const std::vector<Bytes>& blocks = hold_->chain().blocks;
  std::vector<grpc::Slice> slices(1);
  size_t num_bytes = 0;
  while (num_bytes < kDataBytes && block_ < blocks.size()) {
    const Bytes rest = blocks[block_].subspan(offset_);
    const Bytes piece = rest.first(std::min(rest.size(), kDataBytes - num_bytes));
    slices.push_back(SliceOf(piece, hold_));
    num_bytes += piece.size();
    offset_ += piece.size();
    if (piece.size() < rest.size()) break;
    ++block_;
    offset_ = 0;
  }
  slices[0] = HeadOf(num_bytes);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace skv::kvstore
