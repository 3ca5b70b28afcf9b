#include "worker/engine/sentence_tracker.h"

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

}  // namespace skv::engine
