#pragma once
// The blocks of one client in its mapping: writes and checks their headers, and knows which of
// those that are leased now have been compared with their checksums. What it remembers is bounded
// by what is leased. Trusts neither the offsets that it is given nor what lies there.
// Not thread-safe.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "kvstore/client/block_handles.h"
#include "kvstore/session/frame_types.h"

namespace skv::kvstore {

// Whose blocks they are: with a key, the name of a block.
struct BlockOwner {
  LayoutId layout;
  int rank = 0;
  int group_size = 1;
};

class BlockMemory {
 public:
  // `bytes` outlive this and begin at a multiple of kBlockAlignment.
  BlockMemory(std::span<std::byte> bytes, const BlockOwner& owner);

  // A lease that a handle has from now on.
  // InvalidArgument: one that it has already.
  absl::Status BeginLease(uint64_t lease);
  void EndLease(uint64_t lease);

  // Where the block of `sentence` is to be written, header first, of the range that the store gave.
  // InvalidArgument: the range does not lie within the memory, is misaligned or too small, or a
  // leased block lies there. REQUIRES: CheckSentence(sentence).ok().
  absl::StatusOr<std::span<std::byte>> PlaceFor(const NewSentence& sentence,
                                                ArenaRange range) const;

  // Computes the payload's checksum. InvalidArgument: the key is not that of parent and tokens.
  absl::Status WriteHeader(const WritableBlock& block) const;

  // The block was sealed by this client and goes on under its lease, which may be lent to readers.
  LeasedBlock AddWritten(const WritableBlock& block);

  // The blocks that lie in `ranges` under the first of `keys`, up to the first that is not whole,
  // or not of its key and this owner: that is logged and counted.
  // InvalidArgument: a range does not lie within the memory or is misaligned.
  // REQUIRES: `lease` has begun; there are as many keys as ranges, at least.
  absl::StatusOr<std::vector<LeasedBlock>> AddFound(uint64_t lease,
                                                    std::span<const ArenaRange> ranges,
                                                    std::span<const PrefixKey> keys);

  size_t num_leases() const { return leases_.size(); }
  size_t num_known_blocks() const { return known_.size(); }
  uint64_t num_bytes() const { return bytes_.size(); }
  uint64_t num_corrupt_blocks() const { return num_corrupt_blocks_; }
  uint64_t num_verified_bytes() const { return num_verified_bytes_; }

 private:
  // A block that was verified, or written here, and has been leased ever since.
  struct KnownBlock {
    PrefixKey key;
    LeasedBlock block;
    uint32_t num_leases = 0;
  };

  absl::StatusOr<std::span<std::byte>> BytesOf(ArenaRange range) const;
  absl::StatusOr<LeasedBlock> AddOne(uint64_t lease, uint64_t offset,
                                     std::span<const std::byte> bytes, const PrefixKey& key);
  absl::StatusOr<LeasedBlock> Verify(uint64_t offset, std::span<const std::byte> bytes,
                                     const PrefixKey& key);
  void Remember(uint64_t lease, uint64_t offset, const PrefixKey& key, const LeasedBlock& block);

  const std::span<std::byte> bytes_;
  const BlockOwner owner_;
  absl::flat_hash_map<uint64_t, std::vector<uint64_t>> leases_;  // offsets of their known blocks
  absl::flat_hash_map<uint64_t, KnownBlock> known_;              // by offset of the header
  uint64_t num_corrupt_blocks_ = 0;
  uint64_t num_verified_bytes_ = 0;
};

}  // namespace skv::kvstore
