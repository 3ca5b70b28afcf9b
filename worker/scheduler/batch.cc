#include "worker/scheduler/batch.h"

#include <algorithm>

namespace skv::scheduler {
namespace {

bool IsDecode(const Backlog& backlog) {
  return backlog.prompt_tokens == 0 && backlog.generated_tokens == 1;
}

}  // namespace

std::vector<Share> ShareStep(absl::Span<const Backlog> backlogs, const BatchLimits& limits) {
  std::vector<Share> shares;
  int tokens_left = limits.max_tokens;
  for (size_t i = 0; i < backlogs.size() && tokens_left > 0; ++i) {
    if (!IsDecode(backlogs[i])) continue;
    shares.push_back({.sequence_idx = static_cast<int>(i), .generated_tokens = 1});
    --tokens_left;
  }
  for (size_t i = 0; i < backlogs.size() && tokens_left > 0; ++i) {
    if (IsDecode(backlogs[i])) continue;
    const int room = std::min(tokens_left, limits.max_chunk_tokens);
    const int prompt_tokens = std::min(backlogs[i].prompt_tokens, room);
    const int generated_tokens = std::min(backlogs[i].generated_tokens, room - prompt_tokens);
    if (prompt_tokens + generated_tokens == 0) continue;
    shares.push_back({static_cast<int>(i), prompt_tokens, generated_tokens});
    tokens_left -= prompt_tokens + generated_tokens;
  }
  return shares;
}

}  // namespace skv::scheduler
