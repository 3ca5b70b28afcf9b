#include "text/special_tokens.h"

#include <algorithm>

namespace skv::text {
namespace {

struct Candidate {
  size_t begin;
  int32_t entry_idx;
};

}  // namespace

int32_t SpecialTokenMatcher::Child(int32_t node_idx, char c) const {
  for (const auto& [label, child] : nodes_[node_idx].children) {
    if (label == c) return child;
  }
  return -1;
}

void SpecialTokenMatcher::Add(std::string_view text, TokenId id, bool is_control) {
  int32_t node_idx = 0;
  for (const char c : text) {
    int32_t child = Child(node_idx, c);
    if (child < 0) {
      child = static_cast<int32_t>(nodes_.size());
      nodes_.emplace_back();
      nodes_[node_idx].children.emplace_back(c, child);
    }
    node_idx = child;
  }
  nodes_[node_idx].entry_idx = static_cast<int32_t>(entries_.size());
  entries_.push_back({text.size(), id, is_control});
}

std::vector<SpecialTokenMatcher::Match> SpecialTokenMatcher::FindAll(std::string_view text,
                                                                     bool parse_control) const {
  std::vector<Candidate> candidates;
  for (size_t begin = 0; begin < text.size(); ++begin) {
    int32_t node_idx = 0;
    for (size_t pos = begin; pos < text.size(); ++pos) {
      node_idx = Child(node_idx, text[pos]);
      if (node_idx < 0) break;
      const int32_t entry_idx = nodes_[node_idx].entry_idx;
      if (entry_idx >= 0 && (parse_control || !entries_[entry_idx].is_control)) {
        candidates.push_back({begin, entry_idx});
      }
    }
  }
  std::sort(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) {
    const size_t a_length = entries_[a.entry_idx].length, b_length = entries_[b.entry_idx].length;
    if (a_length != b_length) return a_length > b_length;
    if (a.entry_idx != b.entry_idx) return a.entry_idx < b.entry_idx;
    return a.begin < b.begin;
  });

  // Longer matches are placed first, so a shorter candidate overlaps one of them exactly when one
  // of its own two ends lies within it.
  std::vector<bool> is_taken(candidates.empty() ? 0 : text.size(), false);
  std::vector<Match> matches;
  for (const Candidate& candidate : candidates) {
    const Entry& entry = entries_[candidate.entry_idx];
    const size_t end = candidate.begin + entry.length;
    if (is_taken[candidate.begin] || is_taken[end - 1]) continue;
    std::fill(is_taken.begin() + candidate.begin, is_taken.begin() + end, true);
    matches.push_back({candidate.begin, end, entry.id});
  }
  std::sort(matches.begin(), matches.end(),
            [](const Match& a, const Match& b) { return a.begin < b.begin; });
  return matches;
}

}  // namespace skv::text
