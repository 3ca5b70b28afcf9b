#include "worker/policy/testing/reference_eviction.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

// Tokens are named by their positions; `kept` is sorted.
class Eviction {
 public:
  Eviction(const PolicyParams& params, const TestSequence& sequence, int layer, int kv_head)
      : budget_(params.budget_tokens), sequence_(sequence), layer_(layer), kv_head_(kv_head) {}
  virtual ~Eviction() = default;

  HeadSelections Run() {
    std::vector<int> kept(num_prompt());
    std::iota(kept.begin(), kept.end(), 0);
    EndPrompt(&kept);
    HeadSelections selections;
    for (int t = num_prompt(); t < sequence_.num_tokens; ++t) {
      kept.push_back(t);
      Evict(&kept);
      std::vector<PositionRange>& ranges = selections.emplace_back();
      for (const int position : kept) AppendRange({position, position + 1}, &ranges);
      Attend(t, kept);
    }
    return selections;
  }

 protected:
  virtual void EndPrompt(std::vector<int>* kept) = 0;
  // Before a generated token, the last of `kept`, attends.
  virtual void Evict(std::vector<int>* kept) {}
  virtual void Attend(int position, const std::vector<int>& kept) {}

  int num_prompt() const { return sequence_.shape.num_prompt_tokens; }
  int group_size() const { return sequence_.shape.group_size; }

  // The share of attention that a head's query at `position` gives each of `tokens`.
  std::vector<double> Shares(int position, int head, const std::vector<int>& tokens) const {
    const int width = sequence_.shape.head_dim;
    const float* const query = sequence_.Query(layer_, kv_head_, position) + head * width;
    std::vector<double> shares;
    for (const int token : tokens) {
      const float* const key = sequence_.Key(layer_, kv_head_, token);
      double dot = 0;
      for (int c = 0; c < width; ++c) dot += double{query[c]} * key[c];
      shares.push_back(dot / std::sqrt(width));
    }
    const double largest = *std::max_element(shares.begin(), shares.end());
    for (double& share : shares) share = std::exp(share - largest);
    const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares) share /= total;
    return shares;
  }

  // The numbers of `scores`, the largest first; equal ones in order.
  static std::vector<int> Ranking(const std::vector<double>& scores) {
    std::vector<int> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return scores[a] > scores[b]; });
    return order;
  }

  // The tokens of the `count` largest scores, the smaller one of two equal ones, sorted.
  static std::vector<int> Best(const std::vector<double>& scores, int count) {
    std::vector<int> order = Ranking(scores);
    order.resize(count);
    std::sort(order.begin(), order.end());
    return order;
  }

  const int budget_;
  const TestSequence& sequence_;
  const int layer_, kv_head_;
};

class Streaming : public Eviction {
 public:
  using Eviction::Eviction;

 private:
  void EndPrompt(std::vector<int>* kept) override { Evict(kept); }
  void Evict(std::vector<int>* kept) override {
    while (static_cast<int>(kept->size()) > budget_) kept->erase(kept->begin() + 4);
  }
};

class SnapKv : public Eviction {
 public:
  using Eviction::Eviction;

 protected:
  int window() const { return std::min(32, budget_ / 4); }
  virtual int Capacity() const { return budget_; }

 private:
  void EndPrompt(std::vector<int>* kept) override {
    if (num_prompt() <= budget_) return;
    const int before = num_prompt() - window();
    std::vector<double> mean(before, 0.0);
    for (int head = 0; head < group_size(); ++head) {
      const std::vector<double> pooled = PooledScores(head);
      for (int j = 0; j < before; ++j) mean[j] += pooled[j] / group_size();
    }
    *kept = Best(mean, Capacity() - window());
    for (int j = before; j < num_prompt(); ++j) kept->push_back(j);
  }

  std::vector<double> PooledScores(int head) const {
    const int before = num_prompt() - window();
    std::vector<double> sums(before, 0.0), pooled(before);
    for (int i = before; i < num_prompt(); ++i) {
      std::vector<int> visible(i + 1);
      std::iota(visible.begin(), visible.end(), 0);
      const std::vector<double> shares = Shares(i, head, visible);
      for (int j = 0; j < before; ++j) sums[j] += shares[j];
    }
    for (int j = 0; j < before; ++j) {
      for (int i = j - 3; i <= j + 3; ++i) {
        const double padded = i < 0 || i >= before ? 0 : sums[i];
        pooled[j] = std::max(pooled[j], padded);
      }
    }
    return pooled;
  }
};

// Chunks of 16 tokens, not pooled; an odd layer does as the one below it.
class Chunk : public Eviction {
 public:
  Chunk(const PolicyParams& params, const TestSequence& sequence, int layer, int kv_head)
      : Eviction(params, sequence, layer - layer % 2, kv_head) {}

 private:
  void EndPrompt(std::vector<int>* kept) override {
    if (num_prompt() <= budget_) return;
    const int window = std::min(32, budget_ / 4), before = num_prompt() - window;
    std::vector<double> sums((before + 15) / 16, 0.0);
    for (int i = before; i < num_prompt(); ++i) {
      const std::vector<int> visible(kept->begin(), kept->begin() + i + 1);
      for (int head = 0; head < group_size(); ++head) {
        const std::vector<double> shares = Shares(i, head, visible);
        for (int j = 0; j < before; ++j) sums[j / 16] += shares[j];
      }
    }
    std::vector<int> tokens;
    for (const int chunk : Ranking(sums)) {
      for (int j = 16 * chunk; j < std::min(16 * chunk + 16, before); ++j) {
        if (static_cast<int>(tokens.size()) < budget_ - window) tokens.push_back(j);
      }
    }
    std::sort(tokens.begin(), tokens.end());
    for (int j = before; j < num_prompt(); ++j) tokens.push_back(j);
    *kept = tokens;
  }
};

class PyramidKv : public SnapKv {
 public:
  using SnapKv::SnapKv;

 private:
  int Capacity() const override {
    const int layers = sequence_.shape.num_layers;
    const double mean = budget_ - window();
    double min = mean / 20, max = 2 * mean - min;
    if (max >= num_prompt() - window()) {
      max = num_prompt() - window();
      min = 2 * mean - max;
    }
    if (num_prompt() < 2 * mean || min < 1 || layers == 1) return budget_;
    std::vector<int> scored(layers);
    for (int l = 0; l < layers; ++l) {
      // The smallest term makes up for halves that doubles miss.
      scored[l] = static_cast<int>(std::floor(max - l * (max - min) / (layers - 1) + 0.5 + 1e-9));
    }
    int remainder = layers * (budget_ - window()) - std::reduce(scored.begin(), scored.end());
    for (int l = 0; remainder != 0; l = (l + 1) % layers) {
      const int step = remainder > 0 ? 1 : -1;
      scored[l] += step;
      remainder -= step;
    }
    return scored[layer_] + window();
  }
};

class H2o : public Eviction {
 public:
  using Eviction::Eviction;

 private:
  void EndPrompt(std::vector<int>* kept) override {
    scores_.assign(sequence_.num_tokens, 0.0);
    for (int i = 0; i < num_prompt(); ++i) {
      Attend(i, std::vector<int>(kept->begin(), kept->begin() + i + 1));
    }
    if (num_prompt() <= budget_) return;
    const int older = num_prompt() - num_recent();
    *kept = Best({scores_.begin(), scores_.begin() + older}, budget_ / 2);
    for (int j = older; j < num_prompt(); ++j) kept->push_back(j);
  }
  void Evict(std::vector<int>* kept) override {
    if (static_cast<int>(kept->size()) <= budget_) return;
    int lightest = 0;
    for (int i = 0; i < static_cast<int>(kept->size()) - num_recent(); ++i) {
      if (scores_[(*kept)[i]] <= scores_[(*kept)[lightest]]) lightest = i;
    }
    kept->erase(kept->begin() + lightest);
  }
  void Attend(int position, const std::vector<int>& kept) override {
    for (int head = 0; head < group_size(); ++head) {
      const std::vector<double> shares = Shares(position, head, kept);
      for (size_t i = 0; i < kept.size(); ++i) scores_[kept[i]] += shares[i];
    }
  }
  int num_recent() const { return budget_ / 2; }

  std::vector<double> scores_;  // [num_tokens]
};

}  // namespace

HeadSelections ReferenceEviction(const PolicyParams& params, const TestSequence& sequence,
                                 int layer, int kv_head) {
  if (params.name == "streaming") return Streaming(params, sequence, layer, kv_head).Run();
  if (params.name == "snapkv") return SnapKv(params, sequence, layer, kv_head).Run();
  if (params.name == "chunk") return Chunk(params, sequence, layer, kv_head).Run();
  if (params.name == "pyramidkv") return PyramidKv(params, sequence, layer, kv_head).Run();
  return H2o(params, sequence, layer, kv_head).Run();
}

}  // namespace skv::policy
