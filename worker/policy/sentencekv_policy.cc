#include "worker/policy/sentencekv_policy.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/denormals.h"
#include "kernels/selection.h"
#include "worker/policy/budget_split.h"
#include "worker/policy/importance.h"
#include "worker/policy/kept_tokens.h"
#include "worker/policy/position_ranges.h"
#include "worker/policy/running_query.h"
#include "worker/policy/sentence_choice.h"
#include "worker/policy/sentence_index.h"

namespace skv::policy {
namespace {

// The last prompt queries that the running query starts from: more would blur what is asked.
constexpr int kPromptQueries = 32;

// What one layer and KV head of a sequence has come to.
struct HeadState {
  SentenceIndex index;
  RunningQuery running;
  int num_known = 0;    // sentences that the tokens so far prove
  int num_indexed = 0;  // of these
};

// The same at the end of the prompt, from where every fork starts.
struct PromptHead {
  HeadState state;
  KeptTokens kept;
  std::vector<float> window_queries;  // of the importance filter, until the prompt ends
};

class SentenceKvPolicy : public KvPolicy {
 public:
  SentenceKvPolicy(const PolicyParams& params, const SequenceShape& shape,
                   const std::vector<Sentence>* sentences, Digest digest)
      : split_(params.budget_tokens),
        window_(ObservationWindow(params.budget_tokens)),
        num_eligible_(NumEligible(params, shape.num_prompt_tokens)),
        shape_(shape),
        sentences_(sentences),
        digest_(digest),
        prompt_(std::make_shared<std::vector<PromptHead>>(num_heads(), PromptHead{NewState()})),
        generated_(num_heads(), NewState()) {}

  void OnPrompt(const HeadView& view, const QueryRows& queries) override {
    const kernels::FlushDenormals flush;
    PromptHead& head = (*prompt_)[HeadNumber(view)];
    for (int row = 0; row < queries.num_rows; ++row) {
      const int position = queries.first_position + row;
      const int from_end = shape_.num_prompt_tokens - position;
      const float* const query = queries.data + row * queries.stride;
      Learn(position, &head.state);
      if (from_end <= kPromptQueries) {
        head.state.running.Add(SentenceBegin(head.state, position), query);
      }
      if (filters() && from_end <= window_) {
        head.window_queries.insert(head.window_queries.end(), query, query + query_width());
      }
    }
    const bool ended = queries.first_position + queries.num_rows == shape_.num_prompt_tokens;
    if (filters()) {
      if (!ended) return;
      FindImportant(view, &head);
    }
    IndexKnown(view, head.kept, &head.state);
    if (ended) {
      head.state.index.ShrinkToFit();
      StartGenerating(head, &generated_[HeadNumber(view)]);
    }
  }

  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const kernels::FlushDenormals flush;
    HeadState& state = generated_[HeadNumber(view)];
    const PromptHead& prompt = (*prompt_)[HeadNumber(view)];
    const int position = query.first_position, num_visible = position + 1;
    Learn(position, &state);
    state.running.Add(SentenceBegin(state, position), query.data);
    IndexKnown(view, prompt.kept, &state);
    if (num_visible <= split_.budget) {
      attended->push_back({0, num_visible});
      return;
    }
    const int recent =
        split_.RecentBehind(std::span(*sentences_).first(state.num_known), num_visible);
    AppendRange({0, split_.start}, attended);
    AppendChosen(prompt, state, {split_.start, num_visible - recent},
                 split_.budget - split_.start - recent, attended);
    AppendRange({num_visible - recent, num_visible}, attended);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>* sentences) const override {
    auto fork = std::make_unique<SentenceKvPolicy>(*this);
    fork->sentences_ = sentences;
    for (int i = 0; i < num_heads(); ++i) {
      fork->generated_[i] = fork->NewState();
      StartGenerating((*prompt_)[i], &fork->generated_[i]);
    }
    return fork;
  }

  size_t index_bytes() const override {
    size_t bytes = 0;
    for (const PromptHead& head : *prompt_) {
      bytes += head.state.index.size_bytes() + head.kept.size_bytes();
    }
    for (const HeadState& state : generated_) bytes += state.index.size_bytes();
    return bytes;
  }

 private:
  // Prompt tokens that can be chosen, or all of them when the filter has nothing to leave out.
  static int NumEligible(const PolicyParams& params, int num_prompt_tokens) {
    const double limit = std::floor(params.semantic_factor * params.budget_tokens);
    return limit > 0 && limit < num_prompt_tokens ? static_cast<int>(limit) : num_prompt_tokens;
  }

  int num_heads() const { return shape_.num_layers * shape_.num_kv_heads; }
  int query_width() const { return shape_.group_size * shape_.head_dim; }
  bool filters() const { return num_eligible_ < shape_.num_prompt_tokens; }
  int HeadNumber(const HeadView& view) const {
    return view.layer * shape_.num_kv_heads + view.kv_head;
  }
  HeadState NewState() const {
    return {SentenceIndex(digest_, shape_.head_dim), RunningQuery(query_width())};
  }
  int LastEnd(const HeadState& state) const {
    return state.num_known == 0 ? 0 : (*sentences_)[state.num_known - 1].end;
  }
  // Of the sentence that `position` lies in: the last one known, which may end with it, or the one
  // after it.
  int SentenceBegin(const HeadState& state, int position) const {
    const int last_end = LastEnd(state);
    return last_end <= position ? last_end : (*sentences_)[state.num_known - 1].begin;
  }

  static void StartGenerating(const PromptHead& prompt, HeadState* state) {
    state->running = prompt.state.running;
    state->num_known = prompt.state.num_known;
    state->num_indexed = prompt.state.num_indexed;
  }

  // Takes note of the sentences that the token at `position` proves.
  void Learn(int position, HeadState* state) const {
    const int size = static_cast<int>(sentences_->size());
    while (state->num_known < size && (*sentences_)[state->num_known].known_at <= position) {
      ++state->num_known;
    }
  }

  // Digests the sentences that are new. Those without a kept token are absent from the index.
  void IndexKnown(const HeadView& view, const KeptTokens& kept, HeadState* state) const {
    std::vector<float> keys;
    std::vector<PositionRange> ranges;
    for (; state->num_indexed < state->num_known; ++state->num_indexed) {
      const Sentence& sentence = (*sentences_)[state->num_indexed];
      const PositionRange tokens = {kept.NumBefore(sentence.begin), kept.NumBefore(sentence.end)};
      if (tokens.begin == tokens.end) continue;
      ranges.clear();
      kept.AppendPositions(tokens.begin, tokens.end, &ranges);
      keys.resize(int64_t{tokens.end - tokens.begin} * shape_.head_dim);
      float* rows = keys.data();
      for (const PositionRange& range : ranges) {
        view.kv->ReadKeys(range.begin, range.end, rows);
        rows += int64_t{range.end - range.begin} * shape_.head_dim;
      }
      state->index.Add(tokens, keys.data());
    }
  }

  void FindImportant(const HeadView& view, PromptHead* head) const {
    const ImportanceShape shape = {shape_.group_size, shape_.head_dim, shape_.num_prompt_tokens,
                                   window_};
    head->kept =
        KeptTokens(ImportantPositions(shape, *view.kv, head->window_queries, num_eligible_),
                   shape_.num_prompt_tokens);
    head->window_queries = std::vector<float>();
  }

  // Appends `budget` tokens of the sentences in [within.begin, within.end).
  void AppendChosen(const PromptHead& prompt, const HeadState& state, PositionRange within,
                    int budget, std::vector<PositionRange>* attended) const {
    if (budget == 0) return;
    const PositionRange tokens = {prompt.kept.NumBefore(within.begin),
                                  prompt.kept.NumBefore(within.end)};
    const int num_prompt = prompt.state.index.size();
    const int num_sentences = num_prompt + state.index.size();
    std::vector<float> scores(int64_t{shape_.group_size} * num_sentences);
    const std::vector<float> forms = QueryForms(state.running);
    prompt.state.index.Score(forms, shape_.group_size, scores.data(), num_sentences);
    state.index.Score(forms, shape_.group_size, scores.data() + num_prompt, num_sentences);

    // Only what can be chosen takes part in the softmax: a first sentence that draws all attention
    // would leave the rest without order.
    std::vector<PositionRange> candidates;
    std::vector<float> lengths;
    int first = 0;  // sentence of the first candidate
    for (const SentenceIndex* index : {&prompt.state.index, &state.index}) {
      for (const PositionRange& sentence : index->tokens()) {
        const PositionRange left = {std::max(sentence.begin, tokens.begin),
                                    std::min(sentence.end, tokens.end)};
        if (left.begin >= left.end) {
          if (candidates.empty()) ++first;
          continue;
        }
        candidates.push_back(left);
        lengths.push_back(static_cast<float>(left.end - left.begin));
      }
    }
    if (candidates.empty()) return;
    std::vector<float> keys(candidates.size());
    kernels::GroupMass(lengths.data(), static_cast<int>(keys.size()), shape_.group_size,
                       scores.data() + first, num_sentences, keys.data());
    std::vector<PositionRange> chosen;
    ChooseSentences(candidates, keys, budget, &chosen);
    for (const PositionRange& range : chosen) {
      prompt.kept.AppendPositions(range.begin, range.end, attended);
    }
  }

  // MakeQueryForm of the running query of each head, scaled as attention scales queries.
  std::vector<float> QueryForms(const RunningQuery& running) const {
    std::vector<float> query(query_width());
    running.Get(query.data());
    const float scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
    for (float& x : query) x *= scale;
    const int width = DigestWidth(digest_, shape_.head_dim);
    std::vector<float> forms(int64_t{shape_.group_size} * width);
    for (int h = 0; h < shape_.group_size; ++h) {
      MakeQueryForm(digest_, query.data() + int64_t{h} * shape_.head_dim, shape_.head_dim,
                    forms.data() + int64_t{h} * width);
    }
    return forms;
  }

  BudgetSplit split_;
  int window_;  // of the importance filter
  int num_eligible_;
  SequenceShape shape_;
  const std::vector<Sentence>* sentences_;
  Digest digest_;
  std::shared_ptr<std::vector<PromptHead>> prompt_;  // constant after the prompt; shared by forks
  std::vector<HeadState> generated_;                 // index: of generated sentences only
};

}  // namespace

std::unique_ptr<KvPolicy> CreateSentenceKvPolicy(const PolicyParams& params,
                                                 const SequenceShape& shape,
                                                 const std::vector<Sentence>* sentences,
                                                 Digest digest) {
  return std::make_unique<SentenceKvPolicy>(params, shape, sentences, digest);
}

std::unique_ptr<KvPolicy> CreateSentenceKvPolicy(const PolicyParams& params,
                                                 const SequenceShape& shape,
                                                 const std::vector<Sentence>* sentences) {
  return CreateSentenceKvPolicy(params, shape, sentences, kDefaultDigest);
}

}  // namespace skv::policy
