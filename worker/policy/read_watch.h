#pragma once
// Watches what the generated positions of one sequence read of its prompt, for `explain`: attends
// what another policy selects, bit by bit, and measures what each sentence of the prompt gets of
// that attention. Costs about as much as the attention itself.

#include <memory>
#include <span>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// The first tokens of a sequence: heads that find nothing to read give them their attention (the
// sinks of StreamingLLM, arXiv 2309.17453), so that it tells nothing and counts for no sentence.
inline constexpr int kSinkTokens = 4;

class ReadWatch : public KvPolicy {
 public:
  // `sentence_ends`: of the prompt's sentences, ascending; the last is shape.num_prompt_tokens.
  ReadWatch(std::unique_ptr<KvPolicy> policy, const SequenceShape& shape,
            std::vector<int> sentence_ends);

  // Before a step that computes generated positions [first_position, first_position + num_rows):
  // what an earlier step read is forgotten. No call of the model may run.
  void BeginStep(int first_position, int num_rows);

  // After the step, over the layers and KV heads of this rank: [num_rows, 2, num_sentences].
  //   [row, 0, s]  the largest share of its attention that any query head gave sentence s
  //   [row, 1, s]  layers and KV heads that attended at least half of its tokens
  std::span<const float> step_reads() const { return reads_; }
  const std::vector<int>& sentence_ends() const { return sentence_ends_; }

  void OnPrompt(const HeadView& view, const QueryRows& queries) override;
  void Select(const HeadView& view, const QueryRows& query,
              std::vector<PositionRange>* attended) override;
  std::unique_ptr<KvPolicy> ForkPrompt(const std::vector<Sentence>* sentences) const override;
  size_t index_bytes() const override { return policy_->index_bytes(); }

 private:
  int num_sentences() const { return static_cast<int>(sentence_ends_.size()); }
  void Measure(const HeadView& view, const QueryRows& query,
               std::span<const PositionRange> attended);
  // Adds what one layer and KV head read: `shares` [group_size, num_sentences] and tokens attended
  // [num_sentences].
  void Count(int row, const std::vector<float>& shares, const std::vector<int>& tokens);

  const std::unique_ptr<KvPolicy> policy_;
  const SequenceShape shape_;
  const std::vector<int> sentence_ends_;
  int first_position_ = 0;
  // All heads write here, in whichever order: neither largest numbers nor counts depend on it.
  std::vector<float> reads_;
};

}  // namespace skv::policy
