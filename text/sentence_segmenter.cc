#include "text/sentence_segmenter.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "common/status.h"

namespace skv::text {
namespace {

constexpr int kCutAtClauseFrom = 96;
constexpr int kCutAtWordFrom = 120;

bool IsEnd(BoundaryStrength strength, int num_tokens) {
  if (num_tokens < kMinSentenceTokens) return false;
  if (num_tokens >= kMaxSentenceTokens) return true;
  if (num_tokens >= kCutAtWordFrom) return strength >= BoundaryStrength::kWord;
  if (num_tokens >= kCutAtClauseFrom) return strength >= BoundaryStrength::kClause;
  return strength == BoundaryStrength::kSentence;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SentenceSegmenter>> SentenceSegmenter::Create(
    const TokenizerSpec& spec) {
  SKV_RETURN_IF_ERROR(Validate(spec));
  return std::shared_ptr<const SentenceSegmenter>(new SentenceSegmenter(spec));
}

SentenceSegmenter::SentenceSegmenter(const TokenizerSpec& spec) : tokens_(spec.tokens.size()) {
  const absl::flat_hash_set<TokenId> closing = EndOfGenerationIds(spec);
  for (size_t idx = 0; idx < tokens_.size(); ++idx) {
    const auto id = static_cast<TokenId>(idx);
    Token& token = tokens_[idx];
    if (TypeOf(spec, id) == kTokenControl) {
      token.start.turn_mark = closing.contains(id) ? TurnMark::kClosing : TurnMark::kOpening;
    } else {
      token.bytes = BytesOfToken(spec, id);
      token.start = ReadTokenStart(token.bytes);
    }
  }
}

const SentenceSegmenter::Token& SentenceSegmenter::token(int id) const {
  static const Token kNoText;
  return id >= 0 && static_cast<size_t>(id) < tokens_.size() ? tokens_[id] : kNoText;
}

SentenceStream::SentenceStream(std::shared_ptr<const SentenceSegmenter> segmenter)
    : segmenter_(std::move(segmenter)) {}

std::optional<int> SentenceStream::Feed(int token) {
  const SentenceSegmenter::Token& next = segmenter_->token(token);
  std::optional<int> end;
  if (IsEnd(RateBoundary(before_, next.start), num_fed_ - sentence_begin_)) {
    end = sentence_begin_ = num_fed_;
  }
  if (next.start.turn_mark == TurnMark::kNone) {
    before_.Append(next.bytes);
  } else {
    before_.Append(next.start.turn_mark);
  }
  ++num_fed_;
  return end;
}

std::vector<int> SentenceEnds(const SentenceSegmenter& segmenter, absl::Span<const int> tokens) {
  // The stream does not outlive this call, so it need not share the ownership.
  const std::shared_ptr<const SentenceSegmenter> borrowed(std::shared_ptr<void>(), &segmenter);
  SentenceStream stream(borrowed);
  std::vector<int> ends;
  for (const int token : tokens) {
    if (const std::optional<int> end = stream.Feed(token)) ends.push_back(*end);
  }
  return ends;
}

}  // namespace skv::text
