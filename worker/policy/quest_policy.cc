#include "worker/policy/quest_policy.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/selection.h"
#include "worker/policy/largest_scores.h"
#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

constexpr int kPageTokens = 16;
constexpr int kMinPages = 3;
constexpr int kDenseLayers = 2;

// Consecutive pages of one layer and KV head.
struct PageIndex {
  int begin = 0;                 // position of the first page
  int num_full = 0;              // further pages are indexed with the keys that they have
  std::vector<uint32_t> bounds;  // indexed vectors (kernels/selection.h): kmax, then kmin
};

// kmax, then kmin of keys [num_keys, head_dim].
void FindBounds(const float* keys, int num_keys, int head_dim, float* bounds) {
  float *const high = bounds, *const low = bounds + head_dim;
  std::copy_n(keys, head_dim, high);
  std::copy_n(keys, head_dim, low);
  for (int t = 1; t < num_keys; ++t) {
    const float* const key = keys + int64_t{t} * head_dim;
    for (int c = 0; c < head_dim; ++c) {
      high[c] = std::max(high[c], key[c]);
      low[c] = std::min(low[c], key[c]);
    }
  }
}

class QuestPolicy : public KvPolicy {
 public:
  QuestPolicy(int budget, const SequenceShape& shape)
      : budget_(budget),
        shape_(shape),
        prompt_(std::make_shared<std::vector<PageIndex>>(num_heads())),
        generated_(num_heads(), PageIndex{.begin = WholePages(shape.num_prompt_tokens)}) {}

  void OnPrompt(const HeadView& view, const QueryRows& queries) override {
    if (view.layer < kDenseLayers) return;
    PageIndex& pages = (*prompt_)[HeadNumber(view)];
    const int end = queries.first_position + queries.num_rows;
    Index(view, WholePages(end), &pages);
    if (end == shape_.num_prompt_tokens) pages.bounds.shrink_to_fit();
  }

  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const int num_visible = query.first_position + 1;
    const int last_page = query.first_position / kPageTokens;
    const int num_attended = std::max(kMinPages, budget_ / kPageTokens);
    if (view.layer < kDenseLayers || num_visible <= budget_ || num_attended > last_page) {
      attended->push_back({0, num_visible});
      return;
    }
    Index(view, num_visible, &generated_[HeadNumber(view)]);
    std::vector<float> shares = PageShares(view, query, last_page + 1);
    shares.pop_back();
    for (const int32_t page : LargestScores(shares, num_attended - 1)) {
      AppendRange({page * kPageTokens, (page + 1) * kPageTokens}, attended);
    }
    AppendRange({last_page * kPageTokens, num_visible}, attended);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>*) const override {
    auto fork = std::make_unique<QuestPolicy>(budget_, shape_);
    fork->prompt_ = prompt_;
    return fork;
  }

  size_t index_bytes() const override {
    size_t words = 0;
    for (const PageIndex& pages : *prompt_) words += pages.bounds.capacity();
    for (const PageIndex& pages : generated_) words += pages.bounds.capacity();
    return words * sizeof(uint32_t);
  }

 private:
  static int WholePages(int position) { return position / kPageTokens * kPageTokens; }
  int num_heads() const { return shape_.num_layers * shape_.num_kv_heads; }
  int width() const { return 2 * shape_.head_dim; }
  int HeadNumber(const HeadView& view) const {
    return view.layer * shape_.num_kv_heads + view.kv_head;
  }

  // Indexes the tokens before `end`, and again those of a page that was not full.
  void Index(const HeadView& view, int end, PageIndex* pages) const {
    std::vector<float> keys(int64_t{kPageTokens} * shape_.head_dim), bounds(width());
    for (int page = pages->num_full; pages->begin + page * kPageTokens < end; ++page) {
      const int begin = pages->begin + page * kPageTokens;
      const int num_keys = std::min(kPageTokens, end - begin);
      view.kv->ReadKeys(begin, begin + num_keys, keys.data());
      FindBounds(keys.data(), num_keys, shape_.head_dim, bounds.data());
      pages->bounds.resize(kernels::IndexWords(page + 1, width()));
      kernels::PackIndexVector(bounds.data(), width(), page, pages->bounds.data());
      if (num_keys == kPageTokens) pages->num_full = page + 1;
    }
  }

  std::vector<float> PageShares(const HeadView& view, const QueryRows& query, int num_pages) const {
    const std::vector<float> forms = QueryForms(query);
    std::vector<float> scores(int64_t{shape_.group_size} * num_pages), shares(num_pages);
    const PageIndex& prompt = (*prompt_)[HeadNumber(view)];
    const PageIndex& generated = generated_[HeadNumber(view)];
    const auto score = [&](const PageIndex& pages, int first, int count) {
      kernels::ScoreVectors(forms.data(), width(), shape_.group_size, width(), pages.bounds.data(),
                            count, scores.data() + first, num_pages);
    };
    score(prompt, 0, prompt.num_full);
    score(generated, prompt.num_full, num_pages - prompt.num_full);
    kernels::GroupMass(/*weights=*/nullptr, num_pages, shape_.group_size, scores.data(), num_pages,
                       shares.data());
    return shares;
  }

  // Of each head what the dot product with (kmax, kmin) takes to be the bound: max(q, 0), then
  // min(q, 0); scaled as attention scales queries.
  std::vector<float> QueryForms(const QueryRows& query) const {
    const float scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
    std::vector<float> forms(int64_t{shape_.group_size} * width());
    for (int h = 0; h < shape_.group_size; ++h) {
      float* const form = forms.data() + int64_t{h} * width();
      for (int c = 0; c < shape_.head_dim; ++c) {
        const float q = query.data[int64_t{h} * shape_.head_dim + c] * scale;
        form[c] = std::max(q, 0.0f);
        form[shape_.head_dim + c] = std::min(q, 0.0f);
      }
    }
    return forms;
  }

  const int budget_;
  const SequenceShape shape_;
  std::shared_ptr<std::vector<PageIndex>> prompt_;  // full pages; shared by forks
  std::vector<PageIndex> generated_;                // those behind them
};

}  // namespace

std::unique_ptr<KvPolicy> CreateQuestPolicy(const PolicyParams& params, const SequenceShape& shape,
                                            const std::vector<Sentence>*) {
  return std::make_unique<QuestPolicy>(params.budget_tokens, shape);
}

}  // namespace skv::policy
