#include "worker/policy/infllm_policy.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/selection.h"
#include "worker/policy/largest_scores.h"
#include "worker/policy/position_ranges.h"
#include "worker/policy/received_attention.h"

namespace skv::policy {
namespace {

constexpr int kRepresentatives = 4;

// The parts of a budget.
struct Regions {
  explicit Regions(int budget)
      : budget(budget),
        init(std::min(32, budget / 8)),
        local(budget / 2),
        block(std::min(128, budget / 8)) {}
  int budget;
  int init;
  int local;
  int block;
};

// Blocks of one layer and KV head whose representatives are known, and the tokens behind them.
struct HeadState {
  int begin = 0;                  // position of the first block
  int num_blocks = 0;             // all of them older than the local tokens
  std::vector<uint32_t> vectors;  // of the blocks; indexed vectors (kernels/selection.h)
  std::vector<float> received;    // attention, by each token behind the blocks
};

class InfLlmPolicy : public KvPolicy {
 public:
  InfLlmPolicy(int budget, const SequenceShape& shape)
      : regions_(budget),
        shape_(shape),
        prompt_(std::make_shared<std::vector<HeadState>>(num_heads(),
                                                         HeadState{.begin = regions_.init})),
        generated_(num_heads()) {}

  void OnPrompt(const HeadView& view, const QueryRows& queries) override {
    HeadState& state = (*prompt_)[HeadNumber(view)];
    Observe(view, queries, &state);
    if (queries.first_position + queries.num_rows != shape_.num_prompt_tokens) return;
    state.vectors.shrink_to_fit();
    StartGenerating(state, &generated_[HeadNumber(view)]);
  }

  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    HeadState& state = generated_[HeadNumber(view)];
    const int num_visible = query.first_position + 1;
    Observe(view, query, &state);
    if (num_visible <= regions_.budget) {
      attended->push_back({0, num_visible});
      return;
    }
    const int local_begin = End(state);
    AppendRange({0, regions_.init}, attended);
    AppendBlocks(view, query, regions_.budget - regions_.init - (num_visible - local_begin),
                 attended);
    AppendRange({local_begin, num_visible}, attended);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>*) const override {
    auto fork = std::make_unique<InfLlmPolicy>(regions_.budget, shape_);
    fork->prompt_ = prompt_;
    for (int i = 0; i < num_heads(); ++i) StartGenerating((*prompt_)[i], &fork->generated_[i]);
    return fork;
  }

  size_t index_bytes() const override {
    size_t words = 0;
    for (const auto* states : {&std::as_const(*prompt_), &generated_}) {
      for (const HeadState& state : *states) {
        words += state.vectors.capacity() + state.received.capacity();
      }
    }
    return words * sizeof(uint32_t);
  }

 private:
  int num_heads() const { return shape_.num_layers * shape_.num_kv_heads; }
  int HeadNumber(const HeadView& view) const {
    return view.layer * shape_.num_kv_heads + view.kv_head;
  }
  // Position behind the last block.
  int End(const HeadState& state) const { return state.begin + state.num_blocks * regions_.block; }

  void StartGenerating(const HeadState& prompt, HeadState* state) const {
    state->begin = End(prompt);
    state->received = prompt.received;
  }

  // Takes note of what the queries attend among their local tokens, and of the blocks that only
  // later ones see.
  void Observe(const HeadView& view, const QueryRows& queries, HeadState* state) const {
    const int end = queries.first_position + queries.num_rows;
    state->received.resize(std::max(0, end - End(*state)), 0.0f);
    AddReceivedAttention(shape_, *view.kv, queries, regions_.local, End(*state),
                         state->received.data());
    while (End(*state) + regions_.block <= end - regions_.local) AddBlock(view, state);
  }

  void AddBlock(const HeadView& view, HeadState* state) const {
    const auto block_end = state->received.begin() + regions_.block;
    const std::vector<float> received(state->received.begin(), block_end);
    const int num_keys = std::min(kRepresentatives, regions_.block);
    std::vector<float> keys(int64_t{num_keys} * shape_.head_dim), mean(shape_.head_dim);
    float* key = keys.data();
    for (const int32_t i : LargestScores(received, num_keys)) {
      view.kv->ReadKeys(End(*state) + i, End(*state) + i + 1, key);
      key += shape_.head_dim;
    }
    kernels::MeanOfRows(keys.data(), num_keys, shape_.head_dim, mean.data());
    state->vectors.resize(kernels::IndexWords(state->num_blocks + 1, shape_.head_dim));
    kernels::PackIndexVector(mean.data(), shape_.head_dim, state->num_blocks,
                             state->vectors.data());
    ++state->num_blocks;
    state->received.erase(state->received.begin(), block_end);
  }

  // Appends `budget` tokens of the best blocks. REQUIRES: blocks have as many
  void AppendBlocks(const HeadView& view, const QueryRows& query, int budget,
                    std::vector<PositionRange>* attended) const {
    const std::vector<float> scores = BlockScores(view, query);
    std::vector<int> ranking(scores.size());
    std::iota(ranking.begin(), ranking.end(), 0);
    std::ranges::stable_sort(ranking, std::ranges::greater(), [&](int i) { return scores[i]; });
    std::vector<PositionRange> chosen;
    for (const int i : ranking) {
      if (budget == 0) break;
      const int begin = regions_.init + i * regions_.block;
      const int count = std::min(budget, regions_.block);
      chosen.push_back({begin, begin + count});
      budget -= count;
    }
    std::ranges::sort(chosen, {}, &PositionRange::begin);
    for (const PositionRange& range : chosen) AppendRange(range, attended);
  }

  // Of all blocks in order; a NaN is the lowest.
  std::vector<float> BlockScores(const HeadView& view, const QueryRows& query) const {
    std::vector<float> sum(shape_.head_dim, 0.0f);
    for (int h = 0; h < shape_.group_size; ++h) {
      const float* const head = query.data + int64_t{h} * shape_.head_dim;
      for (int c = 0; c < shape_.head_dim; ++c) sum[c] += head[c];
    }
    std::vector<float> scores;
    AppendScores((*prompt_)[HeadNumber(view)], sum, &scores);
    AppendScores(generated_[HeadNumber(view)], sum, &scores);
    for (float& score : scores) {
      if (std::isnan(score)) score = -std::numeric_limits<float>::infinity();
    }
    return scores;
  }

  void AppendScores(const HeadState& state, const std::vector<float>& query,
                    std::vector<float>* scores) const {
    const size_t first = scores->size();
    scores->resize(first + state.num_blocks);
    kernels::ScoreVectors(query.data(), shape_.head_dim, 1, shape_.head_dim, state.vectors.data(),
                          state.num_blocks, scores->data() + first, state.num_blocks);
  }

  const Regions regions_;
  const SequenceShape shape_;
  std::shared_ptr<std::vector<HeadState>> prompt_;  // constant after the prompt; shared by forks
  std::vector<HeadState> generated_;                // blocks behind the prompt's
};

}  // namespace

std::unique_ptr<KvPolicy> CreateInfLlmPolicy(const PolicyParams& params, const SequenceShape& shape,
                                             const std::vector<Sentence>*) {
  return std::make_unique<InfLlmPolicy>(params.budget_tokens, shape);
}

}  // namespace skv::policy
