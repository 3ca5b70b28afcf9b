#pragma once
// What the sentences that a sequence generates read of its prompt, for `explain`: gathers what the
// ranks measured at each position (policy::ReadWatch). The leader has one for each explained
// sequence. Not thread-safe.

#include <optional>
#include <span>
#include <vector>

namespace skv::engine {

// One sentence of the prompt, as one generated sentence read it: means over the latter's tokens,
// without the sequence's last one, which is drawn and never computed.
struct SentenceRead {
  int begin = 0, end = 0;  // positions of the prompt sentence
  double score = 0;        // the largest share of its attention that any query head gave it
  double heads_share = 0;  // share of layers and KV heads that attended at least half of it
  bool operator==(const SentenceRead&) const = default;
};

struct Explanation {
  int begin = 0, end = 0;           // of the generated tokens, from 0: those of the sentence
  std::vector<SentenceRead> reads;  // largest score first, then earlier ones
  bool operator==(const Explanation&) const = default;
};

class ReadLog {
 public:
  // `sentence_ends` of the prompt, ascending, the last is the prompt's end. `num_heads`: layers
  // times KV heads of all ranks. `top`: prompt sentences to name for each generated one.
  ReadLog(std::vector<int> sentence_ends, int num_heads, int top);

  // The next generated token, of a sentence that begins at the `sentence_begin`-th of them.
  // `rank_reads`: of each rank what policy::ReadWatch::step_reads has for it, [2, num_sentences].
  void Add(int sentence_begin, std::span<const float* const> rank_reads);

  // The sentences that have ended since the last call, in order.
  std::vector<Explanation> TakeEnded();
  // The one being written, as if it ended at `end`; none when none of its tokens was added.
  std::optional<Explanation> Unfinished(int end) const;

 private:
  std::vector<int> sentence_ends_;
  int num_heads_;
  int top_;
  std::vector<Explanation> ended_;
  // Of the sentence being written: its first token, how many were added, and sums over them.
  int begin_ = 0;
  int num_tokens_ = 0;
  std::vector<double> largest_, heads_;
};

}  // namespace skv::engine
