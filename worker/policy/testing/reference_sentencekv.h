#pragma once
// `sentencekv` from its definition (worker/policy/sentencekv_policy.h): every query looks at the
// whole sequence up to itself and keeps nothing for the next. The scores are those of
// kernels/selection.h, so that selections must be equal; importance is in double precision.

#include <vector>

#include "worker/policy/sentencekv_options.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {

class ReferenceSentenceKv {
 public:
  // `sequence` outlives it.
  ReferenceSentenceKv(const PolicyParams& params, const SentenceKvOptions& options,
                      const TestSequence* sequence, int layer, int kv_head);

  std::vector<PositionRange> Select(int position) const;
  // Whether all kept tokens are attended at `position`, whatever the budget.
  bool AttendsAllKept(int position) const;

 private:
  const float* Key(int position) const { return sequence_->Key(layer_, kv_head_, position); }
  const float* Query(int position) const { return sequence_->Query(layer_, kv_head_, position); }
  void LeaveOutUnimportant(int num_kept);
  std::vector<double> ImportanceOfHead(int head, int window) const;
  // The last known sentence end at `position`, and the begin of the sentence that it lies in.
  int LastEnd(int position) const;
  int SentenceBegin(int position) const;
  // The first position whose query counts, and whether `position` is the first of its sentence.
  int FirstQuery() const;
  bool BeginsSentence(int position) const;
  std::vector<float> RunningQuery(int position) const;
  // One key a sentence from the scores of the group's heads.
  std::vector<float> Reduce(std::vector<std::vector<float>> scores,
                            const std::vector<float>& lengths) const;
  // How much each sentence is wanted, of those with a token that `open` allows and wanted at all.
  struct Candidate {
    std::vector<int> tokens;
    float key = 0;
  };
  std::vector<Candidate> RankedSentences(int position, const std::vector<bool>& open) const;
  // What the group's heads give each of `tokens` when they attend to these alone, by the sketches
  // of those that `open` allows.
  std::vector<float> Mass(int position, const std::vector<int>& tokens,
                          const std::vector<bool>& open) const;
  float Score(const float* query, int token, bool by_sketch) const;
  // The `budget` tokens with most of it, of those that `open` allows; without those that get too
  // little where not all can be attended.
  std::vector<int> BestTokens(int position, const std::vector<int>& found,
                              const std::vector<bool>& open, int budget) const;

  int budget_;
  SentenceKvOptions options_;
  const TestSequence* sequence_;
  int layer_;
  int kv_head_;
  std::vector<bool> kept_;  // [num_tokens]
};

}  // namespace skv::policy
