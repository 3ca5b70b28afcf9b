#include "worker/policy/prompt_eviction.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels/denormals.h"
#include "worker/policy/importance.h"
#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

struct PromptHead {
  std::vector<PositionRange> kept;
  std::vector<float> window_queries;  // [window, group_size, head_dim], until the prompt ends
};

class PromptEviction : public KvPolicy {
 public:
  PromptEviction(const SequenceShape& shape, int window, std::vector<int> num_kept)
      : shape_(shape),
        window_(window),
        num_kept_(std::move(num_kept)),
        prompt_(std::make_shared<std::vector<PromptHead>>(shape.num_layers * shape.num_kv_heads)) {}

  void OnPrompt(const HeadView& view, const QueryRows& queries) override {
    if (keeps_all()) return;
    PromptHead& head = (*prompt_)[HeadNumber(view)];
    const int first_observed = shape_.num_prompt_tokens - window_;
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
  bool keeps_all() const { return num_kept_.empty(); }
  int HeadNumber(const HeadView& view) const {
    return view.layer * shape_.num_kv_heads + view.kv_head;
  }

  void Evict(const HeadView& view, PromptHead* head) const {
    const kernels::FlushDenormals flush;
    const ImportanceShape shape = {shape_.group_size, shape_.head_dim, shape_.num_prompt_tokens,
                                   window_};
    for (const int32_t position :
         ImportantPositions(shape, *view.kv, head->window_queries, num_kept_[view.layer])) {
      AppendRange({position, position + 1}, &head->kept);
    }
    head->kept.shrink_to_fit();
    head->window_queries = std::vector<float>();
  }

  SequenceShape shape_;
  int window_;
  std::vector<int> num_kept_;
  std::shared_ptr<std::vector<PromptHead>> prompt_;  // constant after the prompt; shared by forks
};

}  // namespace

int ObservationWindow(int budget_tokens) { return std::min(32, budget_tokens / 4); }

std::unique_ptr<KvPolicy> CreatePromptEviction(const SequenceShape& shape, int window,
                                               std::vector<int> num_kept) {
  return std::make_unique<PromptEviction>(shape, window, std::move(num_kept));
}

}  // namespace skv::policy
