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

void SequenceCache::UsePrompt(std::vector<std::shared_ptr<PromptBlock>> blocks, int num_computed) {
  SKV_CHECK(pieces_.empty() && blocks.size() <= sentence_ends_.size());
  for (size_t i = 0; i < blocks.size(); ++i) {
    const int begin = i == 0 ? 0 : sentence_ends_[i - 1];
    SKV_CHECK(blocks[i] == nullptr || blocks[i]->capacity() == sentence_ends_[i] - begin)
        << "sentence " << i;
  }
  given_ = std::move(blocks);
  for (size_t i = 0; capacity() < num_computed; ++i) {
    SKV_CHECK(i < given_.size() && given_[i] != nullptr) << "sentence " << i;
    AppendBlock(std::move(given_[i]));
  }
  SKV_CHECK(capacity() == num_computed);
  num_sealed_ = blocks_.size();
  num_computed_ = num_reserved_ = num_computed;
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
  if (next_sentence_ < given_.size() && given_[next_sentence_] != nullptr) {
    AppendBlock(std::move(given_[next_sentence_]));
    return absl::OkStatus();
  }
  const int end =
      next_sentence_ < sentence_ends_.size() ? sentence_ends_[next_sentence_] : num_prompt_tokens_;
  const int size = SizeThatFits(*pool_, std::min(kMaxBlockTokens, end - begin));
  SKV_ASSIGN_OR_RETURN(std::shared_ptr<Block> block, pool_->CreateBlock(size));
  AppendBlock(std::move(block));
  return absl::OkStatus();
}

void SequenceCache::AppendBlock(std::shared_ptr<PromptBlock> block) {
  AppendPiece(block->data(), block->capacity());
  blocks_.push_back(std::move(block));
}

absl::Status SequenceCache::AppendPage() {
  const int slots_left = kSlotsPerPage - (capacity() - num_prompt_tokens_) % kSlotsPerPage;
  SKV_ASSIGN_OR_RETURN(std::unique_ptr<SlotPage> page,
                       pool_->CreateSlotPage(SizeThatFits(*pool_, slots_left)));
  AppendPiece(page->data(), page->capacity());
  pages_.push_back(std::move(page));
  return absl::OkStatus();
}

void SequenceCache::AppendPiece(std::byte* data, int size) {
  pieces_.push_back({data, capacity(), size});
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
  for (const std::shared_ptr<PromptBlock>& block : blocks_) child->AppendBlock(block);
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
