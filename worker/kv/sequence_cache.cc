#include "worker/kv/sequence_cache.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/status.h"

namespace skv::kv {
namespace {

// A fragmented pool still serves whoever was admitted: smaller containers, the same units. A full
// one is left to say so.
int SizeThatFits(const KvPool& pool, int wanted) {
  const int64_t largest = pool.largest_free_tokens();
  return largest == 0 ? wanted : static_cast<int>(std::min<int64_t>(wanted, largest));
}

}  // namespace

SequenceCache::SequenceCache(KvPool* pool, int num_prompt_tokens,
                             absl::Span<const int> sentence_ends)
    : pool_(pool),
      num_prompt_tokens_(num_prompt_tokens),
      sentence_ends_(sentence_ends.begin(), sentence_ends.end()) {
  SKV_CHECK(sentence_ends.empty() || sentence_ends.back() <= num_prompt_tokens);
}

absl::Status SequenceCache::Reserve(int num_tokens) {
  const int end = num_reserved_ + num_tokens;
  while (capacity() < end) {
    SKV_RETURN_IF_ERROR(capacity() < num_prompt_tokens_ ? AppendBlock() : AppendPage());
  }
  num_reserved_ = end;
  return absl::OkStatus();
}

absl::Status SequenceCache::AppendBlock() {
  const int begin = capacity();
  while (next_sentence_ < sentence_ends_.size() && sentence_ends_[next_sentence_] <= begin) {
    ++next_sentence_;
  }
  const int end =
      next_sentence_ < sentence_ends_.size() ? sentence_ends_[next_sentence_] : num_prompt_tokens_;
  const int size = SizeThatFits(*pool_, std::min(kMaxBlockTokens, end - begin));
  SKV_ASSIGN_OR_RETURN(std::shared_ptr<Block> block, pool_->CreateBlock(size));
  AppendPiece(*block);
  blocks_.push_back(std::move(block));
  return absl::OkStatus();
}

absl::Status SequenceCache::AppendPage() {
  const int slots_left = kSlotsPerPage - (capacity() - num_prompt_tokens_) % kSlotsPerPage;
  SKV_ASSIGN_OR_RETURN(std::unique_ptr<SlotPage> page,
                       pool_->CreateSlotPage(SizeThatFits(*pool_, slots_left)));
  AppendPiece(*page);
  pages_.push_back(std::move(page));
  return absl::OkStatus();
}

void SequenceCache::AppendPiece(const Container& container) {
  pieces_.push_back({container.data(), capacity(), container.capacity()});
  const size_t num_units = (capacity() + kUnitTokens - 1) / kUnitTokens;
  piece_of_unit_.resize(num_units, static_cast<int>(pieces_.size()) - 1);
}

void SequenceCache::Commit() {
  num_computed_ = num_reserved_;
  while (num_sealed_ < blocks_.size() && pieces_[num_sealed_].end() <= num_computed_) {
    blocks_[num_sealed_++]->Seal();
  }
}

std::unique_ptr<SequenceCache> SequenceCache::ForkPrompt() const {
  SKV_CHECK(num_computed_ >= num_prompt_tokens_);
  auto child = std::make_unique<SequenceCache>(pool_, num_prompt_tokens_);
  for (const std::shared_ptr<Block>& block : blocks_) child->AppendPiece(*block);
  child->blocks_ = blocks_;
  child->num_sealed_ = num_sealed_;
  child->num_computed_ = child->num_reserved_ = num_prompt_tokens_;
  return child;
}

size_t SequenceCache::Find(int position) const {
  size_t i = piece_of_unit_[position / kUnitTokens];
  while (pieces_[i].end() <= position) ++i;
  return i;
}

RowPointers SequenceCache::Row(int layer, int kv_head, int position) const {
  const KvLayout& layout = pool_->layout();
  const Piece& piece = pieces_[Find(position)];
  std::byte* const row = piece.data + layout.RowBytes() * (position - piece.begin);
  return {row + layout.KeyOffset(layer, kv_head, piece.capacity),
          row + layout.ValueOffset(layer, kv_head, piece.capacity)};
}

void SequenceCache::AppendRuns(int layer, int kv_head, int begin, int end,
                               std::vector<KvRun>* runs) const {
  SKV_CHECK(end <= num_reserved_);
  if (begin >= end) return;
  const KvLayout layout = pool_->layout();  // a copy: the runs written cannot alias it
  const size_t first = Find(begin);
  const size_t last = Find(end - 1);
  const size_t num_before = runs->size();
  runs->resize(num_before + last - first + 1);
  KvRun* run = runs->data() + num_before;
  for (size_t i = first; i <= last; ++i, ++run) {
    const Piece& piece = pieces_[i];
    const int skipped = std::max(0, begin - piece.begin);
    const std::byte* const row = piece.data + layout.RowBytes() * skipped;
    *run = {row + layout.KeyOffset(layer, kv_head, piece.capacity),
            row + layout.ValueOffset(layer, kv_head, piece.capacity),
            std::min(piece.capacity, end - piece.begin) - skipped};
  }
}

}  // namespace skv::kv
