#include "kvstore/grpc/read_hold.h"

#include <utility>

namespace skv::kvstore {
namespace {

uint64_t BytesOf(const HeldChain& chain) {
  uint64_t num_bytes = 0;
  for (const std::span<const std::byte> block : chain.blocks) num_bytes += block.size();
  return num_bytes;
}

}  // namespace

std::shared_ptr<ReadHold> ReadHolds::Take() {
  {
    const MutexLock lock(&state_->mutex);
    if (state_->gauges.num_streams >= state_->max_streams) {
      ++state_->gauges.num_refused;
      return nullptr;
    }
    ++state_->gauges.num_streams;
    ++state_->gauges.num_reads;
  }
  return std::make_shared<ReadHold>(state_);
}

void ReadHolds::Close() {
  const MutexLock lock(&state_->mutex);
  state_->owner = nullptr;
}

void ReadHolds::CountSent(const HeldChain& chain) {
  const MutexLock lock(&state_->mutex);
  state_->gauges.num_sent_blocks += chain.blocks.size();
  state_->gauges.num_sent_bytes += BytesOf(chain);
}

ReadGauges ReadHolds::gauges() const {
  const MutexLock lock(&state_->mutex);
  return state_->gauges;
}

ReadHold::~ReadHold() {
  const MutexLock lock(&state_->mutex);
  --state_->gauges.num_streams;
  state_->gauges.num_held_bytes -= num_bytes_;
  if (chain_.blocks.empty() || state_->owner == nullptr) return;
  // Refused only where the store is stopping, and all leases with it.
  state_->owner
      ->SubmitRelease([lease = chain_.lease](const absl::StatusOr<TierDesk*>& desk) {
        if (desk.ok()) (*desk)->Release({lease});
      })
      .IgnoreError();
}

void ReadHold::SetChain(HeldChain chain) {
  chain_ = std::move(chain);
  num_bytes_ = BytesOf(chain_);
  const MutexLock lock(&state_->mutex);
  state_->gauges.num_held_bytes += num_bytes_;
}

}  // namespace skv::kvstore
