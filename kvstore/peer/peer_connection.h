#pragma once
// Reads blocks from another host's store (Read of skv.kvstore.v1.KvStore). Connects with the first
// call, and again when it must. Not thread-safe.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "kvstore/index/entry_key.h"

namespace skv::kvstore {

// Blocks in memory that they keep; not checked.
struct ReadBlocks {
  std::vector<std::span<const std::byte>> blocks;  // of the first keys
  std::shared_ptr<const void> owner;
};

class PeerConnection {
 public:
  // Of all blocks of one call: a peer that says it will send more is not believed.
  static constexpr uint64_t kMaxBytes = uint64_t{1} << 30;

  explicit PeerConnection(const std::string& address);

  // What the peer has of a chain, up to its first gap. Where the call fails or `deadline` passes,
  // what came whole until then, if anything did. Returns by `deadline`.
  //   Unavailable        it cannot be reached, took too long, or does not speak like a peer
  //   ResourceExhausted  it has as many calls as it takes
  absl::StatusOr<ReadBlocks> Read(std::span<const EntryKey> keys, uint32_t rank,
                                  TimePoint deadline);

 private:
  // Memory that is used again once nobody refers to it: fresh memory costs as much as the copy.
  struct Memory {
    std::unique_ptr<std::byte[]> bytes;
    size_t num_bytes = 0;
  };
  std::shared_ptr<Memory> TakeMemory(size_t num_bytes);

  const std::string address_;
  grpc::GenericStub stub_;
  std::vector<std::shared_ptr<Memory>> kept_;
};

}  // namespace skv::kvstore
