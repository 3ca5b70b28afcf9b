#pragma once
// Blocks that follow from their numbers, so that every process knows what each must hold. Each is
// the only sentence of its chain.

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/block_key.h"
#include "kvstore/client/block_handles.h"

namespace skv::corrupt {

// As of sessions of one rank.
inline constexpr LayoutId kLayout = {.bytes = {'c', 'o', 'r', 'r', 'u', 'p', 't'}};

struct NumberedBlock {
  kvstore::NewSentence sentence;
  std::string bytes;  // header and payload
  size_t header_bytes = 0;
};

// Numbers [first, first + count).
struct Numbers {
  int first = 0;
  int count = 0;
  int end() const { return first + count; }
};

// Thread-safe.
class BlockSeries {
 public:
  explicit BlockSeries(uint64_t seed) : seed_(seed) {}

  // One in ten has the size of a real sentence, 4 to 40 tokens of 23,040 bytes; the others have
  // 1 KiB to 64 KiB, of 4 to 128 tokens, and as many between 1 and 2 KiB as between 32 and 64.
  NumberedBlock Make(int number) const;
  // One of the block's bits, each as likely as any other: 0 is the lowest of the first byte.
  uint64_t BitOf(const NumberedBlock& block, int number) const;

 private:
  const uint64_t seed_;
};

}  // namespace skv::corrupt
