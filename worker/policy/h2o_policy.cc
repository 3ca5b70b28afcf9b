#include "worker/policy/h2o_policy.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/denormals.h"
#include "worker/policy/largest_scores.h"
#include "worker/policy/packed_keys.h"
#include "worker/policy/position_ranges.h"
#include "worker/policy/received_attention.h"

namespace skv::policy {
namespace {

// Of one layer and KV head.
struct PromptHead {
  std::vector<int32_t> positions;  // what is left when the prompt ends, sorted
  std::vector<float> scores;       // of all prompt tokens so far, then of those that are left
};

// Every kept token has a slot, which the token that evicts it takes over.
struct HeadState {
  std::vector<int32_t> positions;  // [slots]
  std::vector<float> scores;       // [slots]
  std::vector<uint32_t> keys;      // [slots] indexed vectors (kernels/selection.h)
  std::vector<int32_t> order;      // slots by position
};

class H2oPolicy : public KvPolicy {
 public:
  H2oPolicy(int budget, const SequenceShape& shape)
      : budget_(budget),
        shape_(shape),
        prompt_(std::make_shared<std::vector<PromptHead>>(num_heads())),
        generated_(num_heads()) {}

  void OnPrompt(const HeadView& view, const QueryRows& queries) override {
    const kernels::FlushDenormals flush;
    PromptHead& head = (*prompt_)[HeadNumber(view)];
    const int end = queries.first_position + queries.num_rows;
    head.scores.resize(end, 0.0f);
    AddReceivedAttention(shape_, *view.kv, queries, /*window=*/std::numeric_limits<int>::max(),
                         /*first=*/0, head.scores.data());
    if (end == shape_.num_prompt_tokens) EvictFromPrompt(&head);
  }

  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const kernels::FlushDenormals flush;
    HeadState& state = generated_[HeadNumber(view)];
    if (state.positions.empty()) StartGenerating(view, &state);
    AppendToken(view, query.first_position, &state);
    for (const int32_t slot : state.order) {
      AppendRange({state.positions[slot], state.positions[slot] + 1}, attended);
    }
    AddSharesOfKept(query, &state);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>*) const override {
    auto fork = std::make_unique<H2oPolicy>(budget_, shape_);
    fork->prompt_ = prompt_;
    return fork;
  }

  size_t index_bytes() const override {
    size_t words = 0;
    for (const PromptHead& head : *prompt_) {
      words += head.positions.capacity() + head.scores.capacity();
    }
    for (const HeadState& state : generated_) {
      words += state.positions.capacity() + state.scores.capacity() + state.keys.capacity() +
               state.order.capacity();
    }
    return words * sizeof(uint32_t);
  }

 private:
  int num_heads() const { return shape_.num_layers * shape_.num_kv_heads; }
  int num_heavy() const { return budget_ / 2; }
  int num_recent() const { return budget_ / 2; }
  int HeadNumber(const HeadView& view) const {
    return view.layer * shape_.num_kv_heads + view.kv_head;
  }

  void EvictFromPrompt(PromptHead* head) const {
    const int n = shape_.num_prompt_tokens;
    if (n <= budget_) {
      head->positions.resize(n);
      std::iota(head->positions.begin(), head->positions.end(), 0);
      return;
    }
    const std::vector<float> older(head->scores.begin(), head->scores.end() - num_recent());
    head->positions = LargestScores(older, num_heavy());
    for (int t = n - num_recent(); t < n; ++t) head->positions.push_back(t);
    std::vector<float> scores;
    for (const int32_t position : head->positions) scores.push_back(head->scores[position]);
    head->positions.shrink_to_fit();
    scores.shrink_to_fit();
    head->scores = std::move(scores);
  }

  void StartGenerating(const HeadView& view, HeadState* state) const {
    const PromptHead& prompt = (*prompt_)[HeadNumber(view)];
    state->positions = prompt.positions;
    state->scores = prompt.scores;
    state->order.resize(state->positions.size());
    std::iota(state->order.begin(), state->order.end(), 0);
    std::vector<PositionRange> ranges;
    for (const int32_t position : prompt.positions) {
      AppendRange({position, position + 1}, &ranges);
    }
    int slot = 0;
    for (const PositionRange& range : ranges) {
      PackKeys(*view.kv, range, shape_.head_dim, slot, &state->keys);
      slot += range.end - range.begin;
    }
  }

  void AppendToken(const HeadView& view, int position, HeadState* state) const {
    int slot = static_cast<int>(state->positions.size());
    if (slot < budget_) {
      state->positions.push_back(position);
      state->scores.push_back(0.0f);
    } else {
      slot = Evict(state);
      state->positions[slot] = position;
      state->scores[slot] = 0.0f;
    }
    state->order.push_back(slot);
    PackKeys(*view.kv, {position, position + 1}, shape_.head_dim, slot, &state->keys);
  }

  // The slot of the token that makes room for the next one, which is the last of the recent ones.
  int Evict(HeadState* state) const {
    const auto end = state->order.end() - (num_recent() - 1);
    auto lightest = state->order.begin();
    for (auto it = lightest; it != end; ++it) {
      if (state->scores[*it] <= state->scores[*lightest]) lightest = it;
    }
    const int slot = *lightest;
    state->order.erase(lightest);
    return slot;
  }

  void AddSharesOfKept(const QueryRows& query, HeadState* state) const {
    const int n = static_cast<int>(state->positions.size());
    std::vector<float> scores(int64_t{shape_.group_size} * n);
    ScoreIndexedKeys(shape_, query, state->keys.data(), n, scores.data());
    for (int head = 0; head < shape_.group_size; ++head) {
      AddShares(n, scores.data() + int64_t{head} * n, state->scores.data());
    }
  }

  const int budget_;
  const SequenceShape shape_;
  std::shared_ptr<std::vector<PromptHead>> prompt_;  // constant after the prompt; shared by forks
  std::vector<HeadState> generated_;                 // empty until the first generated position
};

}  // namespace

std::unique_ptr<KvPolicy> CreateH2oPolicy(const PolicyParams& params, const SequenceShape& shape,
                                          const std::vector<Sentence>*) {
  return std::make_unique<H2oPolicy>(params.budget_tokens, shape);
}

}  // namespace skv::policy
