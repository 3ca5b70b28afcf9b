#include "worker/policy/testing/reference_sentencekv.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "kernels/attention.h"
#include "kernels/key_sketch.h"
#include "kernels/quantised_index.h"
#include "kernels/selection.h"

namespace skv::policy {
namespace {

std::vector<PositionRange> Ranges(const std::vector<bool>& attended) {
  std::vector<PositionRange> ranges;
  for (int t = 0; t < static_cast<int>(attended.size()); ++t) {
    if (!attended[t]) continue;
    if (!ranges.empty() && ranges.back().end == t) {
      ++ranges.back().end;
    } else {
      ranges.push_back({t, t + 1});
    }
  }
  return ranges;
}

}  // namespace

ReferenceSentenceKv::ReferenceSentenceKv(const PolicyParams& params,
                                         const SentenceKvOptions& options,
                                         const TestSequence* sequence, int layer, int kv_head)
    : budget_(params.budget_tokens),
      options_(options),
      sequence_(sequence),
      layer_(layer),
      kv_head_(kv_head),
      kept_(sequence->num_tokens, true) {
  const double limit = std::floor(params.semantic_factor * params.budget_tokens);
  if (limit > 0 && limit < sequence->shape.num_prompt_tokens) {
    LeaveOutUnimportant(static_cast<int>(limit));
  }
}

std::vector<double> ReferenceSentenceKv::ImportanceOfHead(int head, int window) const {
  const int head_dim = sequence_->shape.head_dim, n = sequence_->shape.num_prompt_tokens;
  const int before = n - window;
  std::vector<double> sums(before, 0.0), pooled(before, 0.0);
  for (int t = before; t < n; ++t) {
    std::vector<double> weights(t + 1);
    for (int j = 0; j <= t; ++j) {
      double dot = 0;
      for (int c = 0; c < head_dim; ++c) dot += double{Query(t)[head * head_dim + c]} * Key(j)[c];
      weights[j] = std::exp(dot / std::sqrt(head_dim));
    }
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (int j = 0; j < before; ++j) sums[j] += weights[j] / total;
  }
  for (int j = 0; j < before; ++j) {
    for (int i = std::max(0, j - 3); i <= std::min(before - 1, j + 3); ++i) {
      pooled[j] = std::max(pooled[j], sums[i]);
    }
  }
  return pooled;
}

void ReferenceSentenceKv::LeaveOutUnimportant(int num_kept) {
  const int n = sequence_->shape.num_prompt_tokens, window = std::min(32, budget_ / 4);
  std::vector<double> total(n - window, 0.0);
  for (int head = 0; head < sequence_->shape.group_size; ++head) {
    const std::vector<double> importance = ImportanceOfHead(head, window);
    for (int j = 0; j < n - window; ++j) total[j] += importance[j];
  }
  std::vector<int> order(n - window);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return total[a] > total[b]; });
  for (int i = num_kept - window; i < n - window; ++i) kept_[order[i]] = false;
}

int ReferenceSentenceKv::LastEnd(int position) const {
  int end = 0;
  for (const Sentence& s : sequence_->sentences) {
    if (s.known_at <= position) end = s.end;
  }
  return end;
}

int ReferenceSentenceKv::SentenceBegin(int position) const {
  int begin = 0;
  for (const Sentence& s : sequence_->sentences) {
    if (s.known_at <= position) begin = s.end == position + 1 ? s.begin : s.end;
  }
  return begin;
}

int ReferenceSentenceKv::FirstQuery() const {
  return std::max(0, sequence_->shape.num_prompt_tokens - options_.prompt_queries);
}

bool ReferenceSentenceKv::BeginsSentence(int position) const {
  return position == FirstQuery() || SentenceBegin(position) != SentenceBegin(position - 1);
}

bool ReferenceSentenceKv::AttendsAllKept(int position) const {
  return options_.boundary == Boundary::kFull &&
         (BeginsSentence(position) || LastEnd(position) == position + 1);
}

std::vector<float> ReferenceSentenceKv::RunningQuery(int position) const {
  const int width = sequence_->shape.group_size * sequence_->shape.head_dim;
  std::vector<float> mean;
  int first = FirstQuery();
  while (first <= position) {
    int last = first;  // of the positions of one sentence
    while (last < position && !BeginsSentence(last + 1)) ++last;
    const int count = last - first + 1;
    const bool carry = options_.boundary == Boundary::kCarry && !mean.empty();
    const int missing = carry ? std::max(0, 4 - count) : 0;
    std::vector<float> next(width);
    for (int i = 0; i < width; ++i) {
      float sum = 0;
      for (int t = first; t <= last; ++t) sum += Query(t)[i];
      if (missing > 0) sum += static_cast<float>(missing) * mean[i];
      next[i] = sum / static_cast<float>(count + missing);
    }
    mean = next;
    first = last + 1;
  }
  for (int i = 0; i < width && options_.blend_newest; ++i) {
    mean[i] = (mean[i] + Query(position)[i]) * 0.5f;
  }
  return mean;
}

std::vector<float> ReferenceSentenceKv::Reduce(std::vector<std::vector<float>> scores,
                                               const std::vector<float>& lengths) const {
  const bool of_shares = options_.reduction != GroupReduction::kMeanScore;
  for (std::vector<float>& row : scores) {
    if (of_shares) {
      kernels::WeightedSoftmax(lengths.data(), static_cast<int>(row.size()), row.data());
    }
  }
  std::vector<float> keys = scores[0];
  for (size_t h = 1; h < scores.size(); ++h) {
    for (size_t i = 0; i < keys.size(); ++i) {
      const float score = scores[h][i];
      keys[i] = options_.reduction == GroupReduction::kMaxShare ? std::max(keys[i], score)
                                                                : keys[i] + score;
    }
  }
  if (of_shares) return keys;
  const float least = *std::min_element(keys.begin(), keys.end());
  for (float& key : keys) key -= least;
  return keys;
}

std::vector<ReferenceSentenceKv::Candidate> ReferenceSentenceKv::RankedSentences(
    int position, const std::vector<bool>& open) const {
  const int head_dim = sequence_->shape.head_dim, group_size = sequence_->shape.group_size;
  const int width = (DigestWidth(options_.digest, head_dim) + 31) / 32 * 32;
  const std::vector<float> running = RunningQuery(position);
  std::vector<Candidate> candidates;
  std::vector<std::vector<float>> scores(group_size);
  std::vector<float> lengths;
  for (const Sentence& s : sequence_->sentences) {
    if (s.known_at > position) continue;
    Candidate candidate;
    std::vector<float> keys;
    for (int t = s.begin; t < s.end; ++t) {
      if (!kept_[t]) continue;
      keys.insert(keys.end(), Key(t), Key(t) + head_dim);
      if (open[t]) candidate.tokens.push_back(t);
    }
    if (candidate.tokens.empty()) continue;
    std::vector<float> digest(width), form(width);
    MakeDigest(options_.digest, keys.data(), static_cast<int>(keys.size()) / head_dim, head_dim,
               digest.data());
    std::vector<std::byte> index(kernels::QuantisedIndexBytes(1, width));
    kernels::PackQuantisedVector(digest.data(), width, 0, index.data());
    for (int h = 0; h < group_size; ++h) {
      std::vector<float> query(running.begin() + h * head_dim,
                               running.begin() + (h + 1) * head_dim);
      for (float& x : query) x *= 1.0f / std::sqrt(static_cast<float>(head_dim));
      MakeQueryForm(options_.digest, query.data(), head_dim, form.data());
      float score;
      std::vector<std::byte> packed(kernels::QuantisedQueryBytes(1, width));
      kernels::PackQuantisedQueries(form.data(), 1, width, packed.data());
      kernels::ScoreQuantised(packed.data(), 1, width, index.data(), 1, &score, 1);
      scores[h].push_back(score);
    }
    lengths.push_back(static_cast<float>(candidate.tokens.size()));
    candidates.push_back(candidate);
  }
  if (candidates.empty()) return {};
  const std::vector<float> keys = Reduce(scores, lengths);
  for (size_t i = 0; i < candidates.size(); ++i) candidates[i].key = keys[i];
  if (options_.reduction == GroupReduction::kMaxShare) {
    int num_tokens = 0;
    for (const Candidate& c : candidates) num_tokens += static_cast<int>(c.tokens.size());
    std::erase_if(candidates, [&](const Candidate& c) {
      return c.key < options_.least_expected / static_cast<float>(num_tokens);
    });
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.key > b.key; });
  return candidates;
}

float ReferenceSentenceKv::Score(const float* query, int token, bool by_sketch) const {
  const int head_dim = sequence_->shape.head_dim;
  float score;
  if (by_sketch) {
    std::vector<std::byte> sketch(kernels::KeySketchBytes(head_dim));
    kernels::MakeKeySketches(Key(token), 1, head_dim, sketch.data());
    std::vector<std::byte> packed(kernels::SketchQueryBytes(1, head_dim));
    kernels::PackSketchQueries(query, 1, head_dim, packed.data());
    const kernels::SketchRun run = {sketch.data(), 1};
    kernels::ScoreSketches(packed.data(), 1, head_dim, &run, 1, &score, 1);
  } else {
    std::vector<kernels::Bf16> key(head_dim);
    kernels::ConvertToBf16(Key(token), head_dim, key.data());
    const kernels::KvRun run = {key.data(), /*v=*/key.data(), 1};
    kernels::ScoreKeys(query, 1, head_dim, &run, 1, &score, 1);
  }
  return score;
}

std::vector<float> ReferenceSentenceKv::Mass(int position, const std::vector<int>& tokens,
                                             const std::vector<bool>& open) const {
  const int head_dim = sequence_->shape.head_dim, n = static_cast<int>(tokens.size());
  std::vector<float> mass(n, 0.0f);
  for (int h = 0; h < sequence_->shape.group_size; ++h) {
    std::vector<float> query(Query(position) + h * head_dim, Query(position) + (h + 1) * head_dim);
    for (float& x : query) x *= 1.0f / std::sqrt(static_cast<float>(head_dim));
    std::vector<float> shares(n);
    for (int i = 0; i < n; ++i) {
      shares[i] = Score(query.data(), tokens[i], options_.sketches && open[tokens[i]]);
    }
    kernels::WeightedSoftmax(nullptr, n, shares.data());
    for (int i = 0; i < n; ++i) mass[i] += shares[i];
  }
  return mass;
}

std::vector<int> ReferenceSentenceKv::BestTokens(int position, const std::vector<int>& found,
                                                 const std::vector<bool>& open, int budget) const {
  const std::vector<float> mass = Mass(position, found, open);
  std::vector<int> order;  // of those that may be left out
  for (size_t i = 0; i < found.size(); ++i) {
    if (open[found[i]]) order.push_back(static_cast<int>(i));
  }
  if (static_cast<int>(order.size()) > budget) {
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return mass[a] > mass[b]; });
    order.resize(budget);
    const float mean = static_cast<float>(sequence_->shape.group_size) / mass.size();
    std::erase_if(order, [&](int i) { return mass[i] < options_.least_of_mean * mean; });
  }
  std::vector<int> best;
  for (const int i : order) best.push_back(found[i]);
  return best;
}

std::vector<PositionRange> ReferenceSentenceKv::Select(int position) const {
  const int num_visible = position + 1;
  if (num_visible <= budget_) return {{0, num_visible}};
  const int start = std::min(32, budget_ / 8);
  int recent = std::max(std::min(32, budget_ / 4), num_visible - LastEnd(position));
  recent = std::min(recent, budget_ - start);
  std::vector<bool> attended(num_visible), open(num_visible);
  std::vector<int> found;
  for (int t = 0; t < num_visible; ++t) {
    attended[t] = t < start || t >= num_visible - recent;
    open[t] = !attended[t];
    if (attended[t]) found.push_back(t);
  }
  if (AttendsAllKept(position)) {
    for (int t = 0; t < num_visible; ++t) attended[t] = attended[t] || kept_[t];
    return Ranges(attended);
  }
  const int budget = budget_ - start - recent;
  int room = static_cast<int>(options_.found_per_chosen * static_cast<float>(budget));
  for (const Candidate& candidate : RankedSentences(position, open)) {
    for (const int t : candidate.tokens) {
      if (room-- > 0) found.push_back(t);
    }
  }
  std::sort(found.begin(), found.end());
  for (const int t : BestTokens(position, found, open, budget)) attended[t] = true;
  return Ranges(attended);
}

}  // namespace skv::policy
