#pragma once
// Blocks of a store as the memory of a prompt's sentences. They hold leases: engine thread only,
// destruction included. They may outlive the client and the store's session.

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "kvstore/client/block_handles.h"
#include "worker/kv/prompt_block.h"

namespace skv::prefix {

// One that came written: of a chain, whose lease its blocks share.
class FoundBlock : public kv::PromptBlock {
 public:
  // REQUIRES: index < chain->size().
  FoundBlock(std::shared_ptr<const kvstore::LeasedChain> chain, size_t index);
  void Seal() override {}

 private:
  const std::shared_ptr<const kvstore::LeasedChain> chain_;
};

class ClaimedBlock;
// What is written and the store has not been told of, in the order of writing.
using SealQueue = std::vector<std::shared_ptr<ClaimedBlock>>;

// One that its sequence writes. It is given up if it goes before Seal; Seal puts it into the queue,
// and it is the store's from then on, whatever becomes of the sequence.
class ClaimedBlock : public kv::PromptBlock, public std::enable_shared_from_this<ClaimedBlock> {
 public:
  // With a queue that is gone, Seal does nothing. Is owned by a shared_ptr.
  ClaimedBlock(kvstore::WritableBlock block, std::weak_ptr<SealQueue> queue);
  void Seal() override;

  // What is to be sealed, and then what this holds instead: the same memory.
  kvstore::WritableBlock TakeWritable() { return std::move(writable_); }
  void Hold(kvstore::LeasedChain sealed);

 private:
  const std::weak_ptr<SealQueue> queue_;
  kvstore::WritableBlock writable_;
  kvstore::LeasedChain sealed_;
};

}  // namespace skv::prefix
