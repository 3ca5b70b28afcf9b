#include "worker/kv/sequence_cache.h"

#include <algorithm>

#include "common/log.h"
#include "common/status.h"

namespace skv::kv {

SequenceCache::SequenceCache(KvPool* pool, int num_prompt_tokens)
    : pool_(pool), num_prompt_tokens_(num_prompt_tokens) {}

absl::Status SequenceCache::Reserve(int num_tokens) {
  const int end = num_reserved_ + num_tokens;
  const int prompt_end = std::min(end, num_prompt_tokens_);
  while (prompt_reserved() < prompt_end) SKV_RETURN_IF_ERROR(AppendBlock());
  const int num_generated = end - prompt_end;
  while (static_cast<int>(pages_.size()) * kSlotsPerPage < num_generated) {
    SKV_ASSIGN_OR_RETURN(std::unique_ptr<SlotPage> page, pool_->CreateSlotPage());
    pages_.push_back(std::move(page));
  }
  num_reserved_ = end;
  return absl::OkStatus();
}

absl::Status SequenceCache::AppendBlock() {
  const int begin = prompt_reserved();
  int size = std::min(kMaxBlockTokens, num_prompt_tokens_ - begin);
  absl::StatusOr<std::shared_ptr<Block>> block = pool_->CreateBlock(size);
  // A fragmented pool still serves whoever was admitted: smaller blocks, the same tokens.
  while (!block.ok() && size > kSlotsPerPage) {
    size = std::max(kSlotsPerPage, size / 2 / kSlotsPerPage * kSlotsPerPage);
    block = pool_->CreateBlock(size);
  }
  SKV_RETURN_IF_ERROR(block.status());
  const int units = (size + kSlotsPerPage - 1) / kSlotsPerPage;
  block_of_unit_.insert(block_of_unit_.end(), units, static_cast<int>(blocks_.size()));
  blocks_.push_back(std::move(block).value());
  block_begin_.push_back(begin);
  return absl::OkStatus();
}

void SequenceCache::Commit() {
  num_computed_ = num_reserved_;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (block_begin_[i] + blocks_[i]->capacity() <= num_computed_) blocks_[i]->Seal();
  }
}

std::unique_ptr<SequenceCache> SequenceCache::ForkPrompt() const {
  SKV_CHECK(num_computed_ >= num_prompt_tokens_);
  auto child = std::make_unique<SequenceCache>(pool_, num_prompt_tokens_);
  child->blocks_ = blocks_;
  child->block_begin_ = block_begin_;
  child->block_of_unit_ = block_of_unit_;
  child->num_computed_ = child->num_reserved_ = num_prompt_tokens_;
  return child;
}

SequenceCache::Place SequenceCache::Find(int position) const {
  if (position < num_prompt_tokens_) {
    const int block = block_of_unit_[position / kSlotsPerPage];
    return {blocks_[block].get(), position - block_begin_[block]};
  }
  const int generated = position - num_prompt_tokens_;
  return {pages_[generated / kSlotsPerPage].get(), generated % kSlotsPerPage};
}

RowPointers SequenceCache::Row(int layer, int kv_head, int position) const {
  const Place place = Find(position);
  return {place.container->KeyRow(layer, kv_head, place.row),
          place.container->ValueRow(layer, kv_head, place.row)};
}

void SequenceCache::AppendRuns(int layer, int kv_head, int begin, int end,
                               std::vector<RowRun>* runs) const {
  SKV_CHECK(end <= num_reserved_);
  for (int position = begin; position < end;) {
    const Place place = Find(position);
    const int rows = std::min(place.container->capacity() - place.row, end - position);
    runs->push_back({place.container->KeyRow(layer, kv_head, place.row),
                     place.container->ValueRow(layer, kv_head, place.row), rows});
    position += rows;
  }
}

}  // namespace skv::kv
