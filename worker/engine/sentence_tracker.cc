#include "worker/engine/sentence_tracker.h"

#include <algorithm>

namespace skv::engine {

void SentenceTracker::Feed(absl::Span<const TokenId> tokens) {
  for (const TokenId token : tokens) {
    const int position = stream_.num_fed();
    const std::optional<int> end = stream_.Feed(token);
    if (!end) continue;
    const int begin = sentences_.empty() ? 0 : sentences_.back().end;
    sentences_.push_back({begin, *end, /*known_at=*/position});
  }
}

int SentenceTracker::SentenceBegin(int position) const {
  const auto next = std::ranges::upper_bound(sentences_, position, {}, &policy::Sentence::known_at);
  return next == sentences_.begin() ? 0 : std::prev(next)->end;
}

}  // namespace skv::engine
