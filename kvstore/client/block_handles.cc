#include "kvstore/client/block_handles.h"

#include <utility>

#include "common/log.h"
#include "kvstore/block/block_header.h"

namespace skv::kvstore {

HeldLease::HeldLease(std::shared_ptr<LeaseOwner> owner, uint64_t lease)
    : owner_(std::move(owner)), id_(lease) {}

HeldLease& HeldLease::operator=(HeldLease&& other) noexcept {
  if (this != &other) {
    End();
    owner_ = std::move(other.owner_);
    id_ = other.id_;
  }
  return *this;
}

HeldLease::~HeldLease() { End(); }

void HeldLease::End() {
  if (owner_ != nullptr) owner_->EndLease(id_);
  owner_.reset();
}

LeasedChain::LeasedChain(HeldLease lease, std::vector<LeasedBlock> blocks)
    : lease_(std::move(lease)), blocks_(std::move(blocks)) {}

WritableBlock::WritableBlock(HeldLease lease, NewSentence sentence, std::span<std::byte> place)
    : lease_(std::move(lease)), sentence_(std::move(sentence)) {
  const size_t header_bytes = HeaderBytes(num_tokens());
  SKV_CHECK(place.size() == header_bytes + sentence_.payload_bytes) << place.size() << " bytes";
  header_ = place.first(header_bytes);
  payload_ = place.subspan(header_bytes);
}

}  // namespace skv::kvstore
