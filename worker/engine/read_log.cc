#include "worker/engine/read_log.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

namespace skv::engine {

ReadLog::ReadLog(std::vector<int> sentence_ends, int num_heads, int top)
    : sentence_ends_(std::move(sentence_ends)),
      num_heads_(num_heads),
      top_(top),
      largest_(sentence_ends_.size(), 0.0),
      heads_(sentence_ends_.size(), 0.0) {}

void ReadLog::Add(int sentence_begin, std::span<const float* const> rank_reads) {
  if (num_tokens_ > 0 && sentence_begin != begin_) {
    ended_.push_back(*Unfinished(sentence_begin));
    num_tokens_ = 0;
    std::ranges::fill(largest_, 0.0);
    std::ranges::fill(heads_, 0.0);
  }
  begin_ = sentence_begin;
  ++num_tokens_;
  const size_t count = sentence_ends_.size();
  for (size_t s = 0; s < count; ++s) {
    float largest = 0;
    for (const float* const reads : rank_reads) {
      largest = std::max(largest, reads[s]);
      heads_[s] += reads[count + s];
    }
    largest_[s] += largest;
  }
}

std::vector<Explanation> ReadLog::TakeEnded() { return std::exchange(ended_, {}); }

std::optional<Explanation> ReadLog::Unfinished(int end) const {
  if (num_tokens_ == 0) return std::nullopt;
  std::vector<int> order(sentence_ends_.size());
  std::iota(order.begin(), order.end(), 0);
  const size_t count = std::min<size_t>(top_, order.size());
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int a, int b) {
    return largest_[a] != largest_[b] ? largest_[a] > largest_[b] : a < b;
  });
  Explanation explanation{.begin = begin_, .end = end, .reads = {}};
  for (size_t i = 0; i < count && largest_[order[i]] > 0; ++i) {
    const int s = order[i];
    explanation.reads.push_back({.begin = s == 0 ? 0 : sentence_ends_[s - 1],
                                 .end = sentence_ends_[s],
                                 .score = largest_[s] / num_tokens_,
                                 .heads_share = heads_[s] / num_tokens_ / num_heads_});
  }
  return explanation;
}

}  // namespace skv::engine
