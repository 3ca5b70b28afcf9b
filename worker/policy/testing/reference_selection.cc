#include "worker/policy/testing/reference_selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

// The numbers of `scores`, the largest first; equal ones in order.
std::vector<int> Ranking(const std::vector<double>& scores) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scores[a] > scores[b]; });
  return order;
}

double RoundToBf16(double value) {
  uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  bits += 0x7fff + (bits >> 16 & 1);
  return std::bit_cast<float>(bits & 0xffff0000u);
}

std::vector<PositionRange> MarkedRanges(const std::vector<bool>& marked) {
  std::vector<PositionRange> ranges;
  for (int t = 0; t < static_cast<int>(marked.size()); ++t) {
    if (marked[t]) AppendRange({t, t + 1}, &ranges);
  }
  return ranges;
}

class Reference {
 public:
  Reference(const PolicyParams& params, const TestSequence& sequence, int layer, int kv_head)
      : budget_(params.budget_tokens),
        sequence_(sequence),
        layer_(layer),
        kv_head_(kv_head),
        received_(params.name == "infllm" ? ReceivedLocally() : std::vector<double>()) {}

  std::vector<PositionRange> Quest(int position) const {
    const int num_visible = position + 1, last = position / 16;
    const int count = std::max(3, budget_ / 16);
    if (num_visible <= budget_ || layer_ < 2 || count > last) return {{0, num_visible}};
    std::vector<double> shares(last + 1, 0.0);
    for (int head = 0; head < sequence_.shape.group_size; ++head) {
      std::vector<double> weights(last + 1);
      for (int page = 0; page <= last; ++page) {
        weights[page] = std::exp(Bound(position, head, page) / std::sqrt(sequence_.shape.head_dim));
      }
      const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
      for (int page = 0; page <= last; ++page) {
        shares[page] = std::max(shares[page], weights[page] / total);
      }
    }
    shares.pop_back();
    std::vector<int> pages = Ranking(shares);
    pages.resize(count - 1);
    pages.push_back(last);
    std::vector<bool> marked(num_visible);
    for (const int page : pages) {
      for (int t = 16 * page; t < std::min(16 * page + 16, num_visible); ++t) marked[t] = true;
    }
    return MarkedRanges(marked);
  }

  std::vector<PositionRange> OracleTopK(int position) const {
    if (position < budget_) return {{0, position + 1}};
    std::vector<bool> marked = MarkedEnds(position, std::min(32, budget_ / 4));
    const std::vector<double> mass = GroupMass(position);
    int left = budget_ - static_cast<int>(std::ranges::count(marked, true));
    for (const int t : Ranking(mass)) {
      if (left == 0) break;
      if (marked[t]) continue;
      marked[t] = true;
      --left;
    }
    return MarkedRanges(marked);
  }

  std::vector<PositionRange> OracleSentence(int position, bool per_token) const {
    if (position < budget_) return {{0, position + 1}};
    std::vector<bool> marked = MarkedEnds(position, NumRecent(position));
    const std::vector<double> mass = GroupMass(position);
    std::vector<std::vector<int>> sentences;  // their tokens that can be chosen
    std::vector<double> masses;
    for (const Sentence& sentence : sequence_.sentences) {
      if (sentence.known_at > position) continue;
      std::vector<int> tokens;
      double sum = 0;
      for (int t = sentence.begin; t < sentence.end; ++t) {
        if (marked[t]) continue;
        tokens.push_back(t);
        sum += mass[t];
      }
      if (tokens.empty()) continue;
      masses.push_back(per_token ? sum / static_cast<double>(tokens.size()) : sum);
      sentences.push_back(tokens);
    }
    int left = budget_ - static_cast<int>(std::ranges::count(marked, true));
    for (const int i : Ranking(masses)) {
      for (const int t : sentences[i]) {
        if (left-- > 0) marked[t] = true;
      }
    }
    return MarkedRanges(marked);
  }

  std::vector<PositionRange> InfLlm(int position) const {
    if (position < budget_) return {{0, position + 1}};
    const int init = std::min(32, budget_ / 8), local = budget_ / 2;
    const int length = std::min(128, budget_ / 8);
    std::vector<double> scores;
    for (int begin = init; begin + length <= position + 1 - local; begin += length) {
      scores.push_back(BlockScore(position, begin, length));
    }
    const int local_begin = init + static_cast<int>(scores.size()) * length;
    std::vector<bool> marked(position + 1);
    for (int t = 0; t <= position; ++t) marked[t] = t < init || t >= local_begin;
    int left = budget_ - static_cast<int>(std::ranges::count(marked, true));
    for (const int block : Ranking(scores)) {
      for (int i = 0; i < length; ++i) {
        if (left-- > 0) marked[init + block * length + i] = true;
      }
    }
    return MarkedRanges(marked);
  }

 private:
  // What every query attends: the start and the last `recent` tokens.
  std::vector<bool> MarkedEnds(int position, int recent) const {
    std::vector<bool> marked(position + 1);
    for (int t = 0; t <= position; ++t) {
      marked[t] = t < std::min(32, budget_ / 8) || t > position - recent;
    }
    return marked;
  }

  // The last tokens that are attended, with the unfinished sentence.
  int NumRecent(int position) const {
    int last_end = 0;
    for (const Sentence& sentence : sequence_.sentences) {
      if (sentence.known_at <= position) last_end = sentence.end;
    }
    return std::min(std::max(std::min(32, budget_ / 4), position + 1 - last_end),
                    budget_ - std::min(32, budget_ / 8));
  }

  // What full attention gives each visible token, summed over the group; rounded to float, so that
  // sums of equal ones are exact.
  std::vector<double> GroupMass(int position) const {
    std::vector<double> mass(position + 1, 0.0);
    for (int head = 0; head < sequence_.shape.group_size; ++head) {
      std::vector<double> weights(position + 1);
      for (int t = 0; t <= position; ++t) weights[t] = Weight(position, head, t);
      const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
      for (int t = 0; t <= position; ++t) mass[t] += weights[t] / total;
    }
    for (double& x : mass) x = static_cast<float>(x);
    return mass;
  }

  float Key(int position, int c) const { return sequence_.Key(layer_, kv_head_, position)[c]; }
  float Query(int position, int head, int c) const {
    return sequence_.Query(layer_, kv_head_, position)[head * sequence_.shape.head_dim + c];
  }

  double Dot(int position, int head, int t) const {
    double dot = 0;
    for (int c = 0; c < sequence_.shape.head_dim; ++c) {
      dot += double{Query(position, head, c)} * Key(t, c);
    }
    return dot;
  }
  // Of the token at `t` in a softmax of the query.
  double Weight(int position, int head, int t) const {
    return std::exp(Dot(position, head, t) / std::sqrt(sequence_.shape.head_dim));
  }

  // Of a block for `infllm`: its representatives' mean key with the queries of the group.
  double BlockScore(int position, int begin, int length) const {
    std::vector<int> representatives =
        Ranking({received_.begin() + begin, received_.begin() + begin + length});
    representatives.resize(std::min<size_t>(4, representatives.size()));
    double score = 0;
    for (int c = 0; c < sequence_.shape.head_dim; ++c) {
      double mean = 0;
      for (const int i : representatives) mean += Key(begin + i, c);
      mean = RoundToBf16(mean / static_cast<double>(representatives.size()));
      for (int h = 0; h < sequence_.shape.group_size; ++h) score += mean * Query(position, h, c);
    }
    return score;
  }

  // What the queries that have each token among their local ones give it.
  std::vector<double> ReceivedLocally() const {
    std::vector<double> received(sequence_.num_tokens, 0.0);
    for (int query = 0; query < sequence_.num_tokens; ++query) {
      for (int head = 0; head < sequence_.shape.group_size; ++head) {
        const int begin = std::max(0, query + 1 - budget_ / 2);
        std::vector<double> weights;
        for (int t = begin; t <= query; ++t) weights.push_back(Weight(query, head, t));
        const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
        for (int t = begin; t <= query; ++t) received[t] += weights[t - begin] / total;
      }
    }
    return received;
  }

  double Bound(int position, int head, int page) const {
    double bound = 0;
    for (int c = 0; c < sequence_.shape.head_dim; ++c) {
      float high = Key(16 * page, c), low = high;
      for (int t = 16 * page; t < std::min(16 * page + 16, position + 1); ++t) {
        high = std::max(high, Key(t, c));
        low = std::min(low, Key(t, c));
      }
      const double q = Query(position, head, c);
      bound += std::max(q * high, q * low);
    }
    return bound;
  }

  const int budget_;
  const TestSequence& sequence_;
  const int layer_, kv_head_;
  const std::vector<double> received_;  // [num_tokens], for `infllm`
};

}  // namespace

HeadSelections ReferenceSelection(const PolicyParams& params, const TestSequence& sequence,
                                  int layer, int kv_head) {
  const Reference reference(params, sequence, layer, kv_head);
  HeadSelections rows;
  for (int t = sequence.shape.num_prompt_tokens; t < sequence.num_tokens; ++t) {
    if (params.name == "quest") {
      rows.push_back(reference.Quest(t));
    } else if (params.name == "infllm") {
      rows.push_back(reference.InfLlm(t));
    } else if (params.name == "oracle_topk") {
      rows.push_back(reference.OracleTopK(t));
    } else if (params.name.starts_with("oracle_sentence")) {
      rows.push_back(reference.OracleSentence(t, params.name == "oracle_sentence_per_token"));
    } else {
      ADD_FAILURE() << params.name << " has no reference";
    }
  }
  return rows;
}

}  // namespace skv::policy
