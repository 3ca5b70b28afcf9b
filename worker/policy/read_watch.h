#pragma once
// What the generated positions of one sequence read of its prompt, for `explain`: what each
// sentence of the prompt gets of the attention over what its policy selects. Costs about as much as
// that attention.

#include <span>
#include <vector>

#include "worker/policy/kv_policy.h"

namespace skv::policy {

// The first tokens of a sequence: heads that find nothing to read give them their attention (the
// sinks of StreamingLLM, arXiv 2309.17453), so that it tells nothing and counts for no sentence.
inline constexpr int kSinkTokens = 4;

class ReadWatch {
 public:
  // `sentence_ends`: of the prompt's sentences, ascending; the last is shape.num_prompt_tokens.
  ReadWatch(const SequenceShape& shape, std::vector<int> sentence_ends);

  // Before a step that computes generated positions [first_position, first_position + num_rows):
  // what an earlier step read is forgotten. No Measure may run.
  void BeginStep(int first_position, int num_rows);

  // `attended`, as KvPolicy::Select gives it, for one of these positions. Calls for different
  // layers and heads may run at once.
  void Measure(const HeadView& view, const QueryRows& query,
               std::span<const PositionRange> attended);

  // After the step, over the layers and KV heads of this rank: [num_rows, 2, num_sentences].
  //   [row, 0, s]  the largest share of its attention that any query head gave sentence s
  //   [row, 1, s]  layers and KV heads that attended at least half of its tokens
  std::span<const float> step_reads() const { return reads_; }
  const std::vector<int>& sentence_ends() const { return sentence_ends_; }

 private:
  int num_sentences() const { return static_cast<int>(sentence_ends_.size()); }
  // Adds what one layer and KV head read: `shares` [group_size, num_sentences] and tokens attended
  // [num_sentences].
  void Count(int row, const std::vector<float>& shares, const std::vector<int>& tokens);

  const SequenceShape shape_;
  const std::vector<int> sentence_ends_;
  int first_position_ = 0;
  // All heads write here, in whichever order: neither largest numbers nor counts depend on it.
  std::vector<float> reads_;
};

}  // namespace skv::policy
