#include "worker/policy/prompt_eviction.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels/denormals.h"
#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

struct PromptHead {
  std::vector<PositionRange> kept;
  std::vector<float> window_queries;  // [window, group_size, head_dim], until the prompt ends
};

class PromptEviction : public KvPolicy {
 public:
  PromptEviction(const SequenceShape& shape, PromptEvictionRule rule)
      : shape_(shape),
        rule_(std::move(rule)),
        prompt_(std::make_shared<std::vector<PromptHead>>(shape.num_layers * shape.num_kv_heads)) {}

  void OnPrompt(const HeadView& view, const QueryRows& queries) override {
    if (keeps_all() || view.layer % rule_.layers_alike != 0) return;
    PromptHead& head = (*prompt_)[HeadNumber(view)];
    const int first_observed = shape_.num_prompt_tokens - rule_.window;
    const int end = queries.first_position + queries.num_rows;
    for (int t = std::max(queries.first_position, first_observed); t < end; ++t) {
      const float* const query = queries.data + (t - queries.first_position) * queries.stride;
      head.window_queries.insert(head.window_queries.end(), query,
                                 query + int64_t{shape_.group_size} * shape_.head_dim);
    }
    if (end == shape_.num_prompt_tokens) Evict(view, &head);
  }

  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override {
    const PositionRange generated = {shape_.num_prompt_tokens, query.first_position + 1};
    if (keeps_all()) {
      attended->push_back({0, generated.end});
      return;
    }
    const std::vector<PositionRange>& kept = (*prompt_)[HeadNumber(view)].kept;
    attended->insert(attended->end(), kept.begin(), kept.end());
    AppendRange(generated, attended);
  }

  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>*) const override {
    return std::make_unique<PromptEviction>(*this);
  }

  size_t index_bytes() const override {
    size_t bytes = 0;
    for (const PromptHead& head : *prompt_) {
      bytes += head.kept.capacity() * sizeof(PositionRange) +
               head.window_queries.capacity() * sizeof(float);
    }
    return bytes;
  }

 private:
  bool keeps_all() const { return rule_.num_kept.empty(); }
  // Of the layer that decides.
  int HeadNumber(const HeadView& view) const {
    const int layer = view.layer - view.layer % rule_.layers_alike;
    return layer * shape_.num_kv_heads + view.kv_head;
  }

  void Evict(const HeadView& view, PromptHead* head) const {
    const kernels::FlushDenormals flush;
    const ImportanceShape shape = {shape_.group_size, shape_.head_dim, shape_.num_prompt_tokens,
                                   rule_.window};
    for (const PositionRange& range :
         rule_.keep(shape, *view.kv, head->window_queries, rule_.num_kept[view.layer])) {
      AppendRange(range, &head->kept);
    }
    head->kept.shrink_to_fit();
    head->window_queries = std::vector<float>();
  }

  SequenceShape shape_;
  PromptEvictionRule rule_;
  std::shared_ptr<std::vector<PromptHead>> prompt_;  // constant after the prompt; shared by forks
};

}  // namespace

std::vector<PositionRange> KeepImportantTokens(const ImportanceShape& shape, const KvReader& kv,
                                               const std::vector<float>& queries, int num_kept) {
  std::vector<PositionRange> kept;
  for (const int32_t position : ImportantPositions(shape, kv, queries, num_kept)) {
    AppendRange({position, position + 1}, &kept);
  }
  return kept;
}

std::unique_ptr<KvPolicy> CreatePromptEviction(const SequenceShape& shape,
                                               PromptEvictionRule rule) {
  return std::make_unique<PromptEviction>(shape, std::move(rule));
}

int WindowQueries(const PolicyParams& params, int num_prompt_tokens) {
  const int budget = params.budget_tokens;
  return num_prompt_tokens > budget ? ObservationWindow(budget) : 0;
}

}  // namespace skv::policy
