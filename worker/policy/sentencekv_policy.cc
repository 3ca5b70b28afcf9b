#include "worker/policy/sentencekv_policy.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "common/huge_bytes.h"
#include "kernels/denormals.h"
#include "kernels/quantised_index.h"
#include "worker/policy/budget_split.h"
#include "worker/policy/digest.h"
#include "worker/policy/group_reduction.h"
#include "worker/policy/importance.h"
#include "worker/policy/kept_tokens.h"
#include "worker/policy/key_sketches.h"
#include "worker/policy/position_ranges.h"
#include "worker/policy/running_query.h"
#include "worker/policy/sentence_choice.h"
#include "worker/policy/sentence_index.h"
#include "worker/policy/token_choice.h"

namespace skv::policy {
namespace {

// What one layer and KV head of a sequence has come to.
struct HeadState {
  SentenceIndex index;
  KeySketches sketches;
  RunningQuery running;
  int num_known = 0;    // sentences that the tokens so far prove
  int num_indexed = 0;  // of these

  size_t size_bytes() const { return index.size_bytes() + running.size_bytes(); }
};

// The same at the end of the prompt, from where every fork starts.
struct PromptHead {
  HeadState state;
  KeptTokens kept;
  std::vector<float> window_queries;  // of the importance filter, until the prompt ends
};

// Constant after the prompt.
struct Prompt {
  std::vector<PromptHead> heads;
  std::once_flag ended;
  size_t head_bytes = 0;
  HugeBytes vectors;   // of the heads' indexes, each in its `head_bytes`
  HugeBytes sketches;  // of the heads' keys
};

// What a selection needs on its way. A thread keeps one for all heads: it stays in the cache, and
// nothing is allocated.
struct Workspace {
  std::vector<float> query;  // [group_size, head_dim]
  std::vector<float> forms;  // [group_size, width of the index]
  std::vector<std::byte> queries;
  std::vector<float> scores;  // [group_size, all sentences]
  std::vector<PositionRange> candidates, chosen, found;
  std::vector<float> lengths, keys;          // of the candidates
  std::vector<kernels::SketchRun> sketches;  // of `chosen`
};

Workspace& ThreadWorkspace() {
  thread_local Workspace workspace;
  return workspace;
}

// Appends the parts of `sentences` (sorted, disjoint, not empty) that lie in `within`. Returns the
// number of sentences before the first of them.
int AppendWithin(const std::vector<PositionRange>& sentences, PositionRange within,
                 std::vector<PositionRange>* parts) {
  const auto first = std::ranges::partition_point(
      sentences, [&](const PositionRange& s) { return s.end <= within.begin; });
  const auto last = std::partition_point(
      first, sentences.end(), [&](const PositionRange& s) { return s.begin < within.end; });
  if (first != last) {
    const size_t num_before = parts->size();
    parts->insert(parts->end(), first, last);
    PositionRange& front = (*parts)[num_before];
    front.begin = std::max(front.begin, within.begin);
    parts->back().end = std::min(parts->back().end, within.end);
  }
  return static_cast<int>(first - sentences.begin());
}

class SentenceKvPolicy : public KvPolicy {
 public:
  SentenceKvPolicy(const PolicyParams& params, const SequenceShape& shape,
                   const std::vector<Sentence>* sentences, const SentenceKvOptions& options)
      : split_(params.budget_tokens),
        window_(ObservationWindow(params.budget_tokens)),
        num_eligible_(NumEligible(params, shape.num_prompt_tokens)),
        shape_(shape),
        sentences_(sentences),
        options_(options),
        prompt_(std::make_shared<Prompt>()),
        generated_(num_heads(), NewState()) {
    prompt_->heads.assign(num_heads(), PromptHead{NewState()});
    if (sketches()) PlaceSketches();
  }

  void OnPrompt(const HeadView& view, const QueryRows& queries) override {
    const kernels::FlushDenormals flush;
    PromptHead& head = prompt_->heads[HeadNumber(view)];
    for (int row = 0; row < queries.num_rows; ++row) {
      const int position = queries.first_position + row;
      const int from_end = shape_.num_prompt_tokens - position;
      const float* const query = queries.data + row * queries.stride;
      Learn(position, &head.state);
      if (from_end <= options_.prompt_queries) {
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
      MoveVectors(HeadNumber(view));
      StartGenerating(head, &generated_[HeadNumber(view)]);
    }
  }

  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const kernels::FlushDenormals flush;
    HeadState& state = generated_[HeadNumber(view)];
    const PromptHead& prompt = prompt_->heads[HeadNumber(view)];
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
    const int budget = split_.budget - split_.start - recent;
    std::vector<PositionRange>& found = ThreadWorkspace().found;
    found.clear();
    ThreadWorkspace().sketches.clear();
    const PositionRange between = {split_.start, num_visible - recent};
    const bool attend_kept = AttendsAllKept(state, num_visible);
    AppendRange({0, split_.start}, &found);
    if (attend_kept) {
      AppendKept(prompt.kept, between, &found);
    } else {
      const float most = options_.found_per_chosen * static_cast<float>(budget);
      AppendFound(prompt, state, between, static_cast<int>(most), &found);
    }
    AppendRange({num_visible - recent, num_visible}, &found);
    ChooseTokens(*view.kv, shape_, query.data, found,
                 {.num_first = split_.start,
                  .num_last = recent,
                  .most = attend_kept ? between.end - between.begin : budget,
                  .least_of_mean = options_.least_of_mean},
                 ThreadWorkspace().sketches, attended);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>* sentences) const override {
    auto fork = std::make_unique<SentenceKvPolicy>(*this);
    fork->sentences_ = sentences;
    for (int i = 0; i < num_heads(); ++i) {
      fork->generated_[i] = fork->NewState();
      StartGenerating(prompt_->heads[i], &fork->generated_[i]);
    }
    return fork;
  }

  size_t index_bytes() const override {
    size_t bytes = 0;
    for (const PromptHead& head : prompt_->heads) {
      bytes += head.state.size_bytes() + head.kept.size_bytes();
    }
    for (const HeadState& state : generated_) bytes += state.size_bytes();
    return bytes;
  }

  size_t sketch_bytes() const override {
    size_t bytes = 0;
    for (const PromptHead& head : prompt_->heads) bytes += head.state.sketches.size_bytes();
    for (const HeadState& state : generated_) bytes += state.sketches.size_bytes();
    return bytes;
  }

 private:
  int num_heads() const { return shape_.num_layers * shape_.num_kv_heads; }
  int query_width() const { return shape_.group_size * shape_.head_dim; }
  // Whole sentences are not chosen from.
  bool sketches() const { return options_.sketches && options_.found_per_chosen > 1; }
  bool filters() const { return num_eligible_ < shape_.num_prompt_tokens; }
  int HeadNumber(const HeadView& view) const {
    return view.layer * shape_.num_kv_heads + view.kv_head;
  }
  HeadState NewState() const {
    const RunningQuery::Rule rule = {.carry = options_.boundary == Boundary::kCarry,
                                     .blend_newest = options_.blend_newest};
    return {SentenceIndex(options_.digest, shape_.head_dim), KeySketches(shape_.head_dim, 0),
            RunningQuery(query_width(), rule)};
  }
  // All heads' sketches of prompt tokens lie together.
  void PlaceSketches() {
    const size_t head_bytes = num_eligible_ * kernels::KeySketchBytes(shape_.head_dim);
    prompt_->sketches = HugeBytes(num_heads() * head_bytes);
    std::byte* memory = prompt_->sketches.data();
    for (PromptHead& head : prompt_->heads) {
      head.state.sketches.Place(memory);
      if (memory != nullptr) memory += head_bytes;
    }
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

  void StartGenerating(const PromptHead& prompt, HeadState* state) const {
    state->sketches = KeySketches(shape_.head_dim, prompt.state.sketches.end());
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

  // Digests and sketches the sentences that are new. Those without a kept token are absent from the
  // index.
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
      if (sketches()) state->sketches.Add(keys.data(), tokens.end - tokens.begin);
    }
  }

  // All heads' vectors lie together. Their memory is made when the first head's prompt ends.
  void MoveVectors(int head_number) const {
    SentenceIndex& index = prompt_->heads[head_number].state.index;
    std::call_once(prompt_->ended, [&] {
      const int num_sentences = prompt_->heads[head_number].state.num_known;
      prompt_->head_bytes = kernels::QuantisedIndexBytes(num_sentences, index.width());
      prompt_->vectors = HugeBytes(num_heads() * prompt_->head_bytes);
    });
    std::byte* const memory = prompt_->vectors.data();
    if (memory != nullptr) index.MoveVectors(memory + head_number * prompt_->head_bytes);
  }

  void FindImportant(const HeadView& view, PromptHead* head) const {
    const ImportanceShape shape = {shape_.group_size, shape_.head_dim, shape_.num_prompt_tokens,
                                   window_};
    head->kept =
        KeptTokens(ImportantPositions(shape, *view.kv, head->window_queries, num_eligible_),
                   shape_.num_prompt_tokens);
    head->window_queries = std::vector<float>();
  }

  bool AttendsAllKept(const HeadState& state, int num_visible) const {
    return options_.boundary == Boundary::kFull &&
           (state.running.begins_sentence() || LastEnd(state) == num_visible);
  }

  static void AppendKept(const KeptTokens& kept, PositionRange within,
                         std::vector<PositionRange>* found) {
    kept.AppendPositions(kept.NumBefore(within.begin), kept.NumBefore(within.end), found);
  }

  // Appends `budget` tokens of the sentences in [within.begin, within.end), and the workspace gets
  // their sketches.
  void AppendFound(const PromptHead& prompt, const HeadState& state, PositionRange within,
                   int budget, std::vector<PositionRange>* found) const {
    const PositionRange tokens = {prompt.kept.NumBefore(within.begin),
                                  prompt.kept.NumBefore(within.end)};
    if (budget == 0 || tokens.begin == tokens.end) return;
    Workspace& work = ThreadWorkspace();
    const int num_prompt = prompt.state.index.size();
    const int num_sentences = num_prompt + state.index.size();
    PackQueries(state, &work);
    work.scores.resize(int64_t{shape_.group_size} * num_sentences);
    prompt.state.index.Score(work.queries.data(), shape_.group_size, work.scores.data(),
                             num_sentences);
    state.index.Score(work.queries.data(), shape_.group_size, work.scores.data() + num_prompt,
                      num_sentences);

    // Only what can be chosen takes part in the softmax: a first sentence that draws all attention
    // would leave the rest without order.
    work.candidates.clear();
    int first = AppendWithin(prompt.state.index.tokens(), tokens, &work.candidates);
    const bool of_prompt = !work.candidates.empty();
    const int skipped = AppendWithin(state.index.tokens(), tokens, &work.candidates);
    if (!of_prompt) first = num_prompt + skipped;
    const int num_candidates = static_cast<int>(work.candidates.size());
    if (num_candidates == 0) return;
    work.lengths.resize(num_candidates);
    for (int i = 0; i < num_candidates; ++i) {
      work.lengths[i] = static_cast<float>(work.candidates[i].end - work.candidates[i].begin);
    }
    work.keys.resize(num_candidates);
    ReduceGroup(options_.reduction, work.lengths.data(), num_candidates, shape_.group_size,
                work.scores.data() + first, num_sentences, work.keys.data());
    const bool shares = options_.reduction == GroupReduction::kMaxShare;
    if (shares && options_.least_expected > 0) LeaveOutUnwanted(&work);
    work.chosen.clear();
    ChooseSentences(work.candidates, work.keys, budget, &work.chosen);
    for (const PositionRange& range : work.chosen) {
      prompt.kept.AppendPositions(range.begin, range.end, found);
      if (!sketches()) continue;
      prompt.state.sketches.AppendRun(range, &work.sketches);
      state.sketches.AppendRun(range, &work.sketches);
    }
  }

  // Keys are shares of attention that a token of each sentence is expected to get.
  void LeaveOutUnwanted(Workspace* work) const {
    int num_tokens = 0;
    for (const PositionRange& range : work->candidates) num_tokens += range.end - range.begin;
    const float least = options_.least_expected / static_cast<float>(num_tokens);
    size_t num_wanted = 0;
    for (size_t i = 0; i < work->keys.size(); ++i) {
      if (work->keys[i] < least) continue;
      work->candidates[num_wanted] = work->candidates[i];
      work->keys[num_wanted++] = work->keys[i];
    }
    work->candidates.resize(num_wanted);
    work->keys.resize(num_wanted);
  }

  // The running query of each head, scaled as attention scales queries, in the index's form.
  void PackQueries(const HeadState& state, Workspace* work) const {
    work->query.resize(query_width());
    state.running.Get(work->query.data());
    const float scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
    for (float& x : work->query) x *= scale;
    const int width = state.index.width();
    work->forms.assign(int64_t{shape_.group_size} * width, 0.0f);
    for (int h = 0; h < shape_.group_size; ++h) {
      MakeQueryForm(options_.digest, work->query.data() + int64_t{h} * shape_.head_dim,
                    shape_.head_dim, work->forms.data() + int64_t{h} * width);
    }
    work->queries.resize(kernels::QuantisedQueryBytes(shape_.group_size, width));
    kernels::PackQuantisedQueries(work->forms.data(), shape_.group_size, width,
                                  work->queries.data());
  }

  BudgetSplit split_;
  int window_;  // of the importance filter
  int num_eligible_;
  SequenceShape shape_;
  const std::vector<Sentence>* sentences_;
  SentenceKvOptions options_;
  std::shared_ptr<Prompt> prompt_;    // shared by forks
  std::vector<HeadState> generated_;  // index: of generated sentences only
};

}  // namespace

std::unique_ptr<KvPolicy> CreateSentenceKvPolicy(const PolicyParams& params,
                                                 const SequenceShape& shape,
                                                 const std::vector<Sentence>* sentences,
                                                 const SentenceKvOptions& options) {
  return std::make_unique<SentenceKvPolicy>(params, shape, sentences, options);
}

std::unique_ptr<KvPolicy> CreateSentenceKvPolicy(const PolicyParams& params,
                                                 const SequenceShape& shape,
                                                 const std::vector<Sentence>* sentences) {
  return CreateSentenceKvPolicy(params, shape, sentences, SentenceKvOptions());
}

int SentenceKvQueries(const PolicyParams& params, int num_prompt_tokens) {
  return SentenceKvQueries(params, num_prompt_tokens, SentenceKvOptions());
}

}  // namespace skv::policy
