#include "worker/prefix/stored_block.h"

#include <utility>

#include "common/log.h"

namespace skv::prefix {
namespace {

// Never written: whoever gets the block takes it for computed.
std::byte* BytesOf(const kvstore::LeasedBlock& block) {
  return const_cast<std::byte*>(block.payload.data());
}

}  // namespace

FoundBlock::FoundBlock(std::shared_ptr<const kvstore::LeasedChain> chain, size_t index)
    : PromptBlock(BytesOf(chain->blocks()[index]), chain->blocks()[index].num_tokens),
      chain_(std::move(chain)) {}

ClaimedBlock::ClaimedBlock(kvstore::WritableBlock block, std::weak_ptr<SealQueue> queue)
    : PromptBlock(block.payload().data(), block.num_tokens()),
      queue_(std::move(queue)),
      writable_(std::move(block)) {}

void ClaimedBlock::Seal() {
  if (const std::shared_ptr<SealQueue> queue = queue_.lock()) {
    queue->push_back(shared_from_this());
  }
}

void ClaimedBlock::Hold(kvstore::LeasedChain sealed) {
  SKV_CHECK(sealed.size() == 1 && sealed.blocks()[0].payload.data() == data());
  sealed_ = std::move(sealed);
}

}  // namespace skv::prefix
