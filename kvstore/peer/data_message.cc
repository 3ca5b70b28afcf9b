#include "kvstore/peer/data_message.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "skv/kvstore/v1/kvstore.pb.h"

namespace skv::kvstore {
namespace {

using Bytes = std::span<const uint8_t>;

// Field number and wire type "length-delimited", then the length in groups of seven bits.
constexpr uint8_t kDataTag = v1::ReadResponse::kDataFieldNumber << 3 | 2;
constexpr size_t kMaxHeadBytes = 6;  // of data of less than 2^35 bytes

// Bytes before the data; 0: this is no such message.
size_t HeadBytes(Bytes front, size_t message_bytes) {
  if (front.empty() || front[0] != kDataTag) return 0;
  uint64_t num_bytes = 0;
  for (size_t i = 1; i < front.size(); ++i) {
    num_bytes |= uint64_t{front[i] & 0x7Fu} << (7 * (i - 1));
    if ((front[i] & 0x80) == 0) return num_bytes + i + 1 == message_bytes ? i + 1 : 0;
  }
  return 0;
}

}  // namespace

absl::StatusOr<size_t> CopyData(const grpc::ByteBuffer& message, std::span<std::byte> place) {
  std::vector<grpc::Slice> slices;
  std::array<uint8_t, kMaxHeadBytes> front = {};
  size_t num_front = 0;
  if (message.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) {
      const size_t num_taken = std::min(slice.size(), front.size() - num_front);
      std::copy_n(slice.begin(), num_taken, front.data() + num_front);
      num_front += num_taken;
    }
  }
  size_t num_skipped = HeadBytes(Bytes(front).first(num_front), message.Length());
  if (num_skipped == 0) return absl::DataLossError("peer: got a message that is no data of blocks");
  const size_t num_bytes = message.Length() - num_skipped;
  if (num_bytes > place.size()) {
    return absl::DataLossError(
        absl::StrCat("peer: got ", num_bytes, " bytes of blocks, expected at most ", place.size()));
  }
  std::byte* to = place.data();
  for (const grpc::Slice& slice : slices) {
    const Bytes data = Bytes(slice.begin(), slice.size());
    const Bytes rest = data.subspan(std::min(num_skipped, data.size()));
    num_skipped -= data.size() - rest.size();
    if (!rest.empty()) std::memcpy(to, rest.data(), rest.size());
    to += rest.size();
  }
  return num_bytes;
}

}  // namespace skv::kvstore
