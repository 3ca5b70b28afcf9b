#pragma once
// Golden logits of one document, made by an independent implementation, and the distance of other
// logits from them. Files and measures: eval/logits/goldens.py.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/types.h"

namespace skv::model {

// How far logits are from a golden.
struct LogitsDistance {
  int num_clear = 0;   // positions whose golden margin, largest minus second logit, is large enough
  int num_agreed = 0;  // of these, those whose largest logit is the golden's
  double mean_kl = 0;  // KL(golden || logits) in nats over all positions, tails lumped into one
};

class LogitsGolden {
 public:
  // Reads `path`.json and `path`.bin. NotFound, InvalidArgument: not there, or not a golden of one
  // document.
  static absl::StatusOr<LogitsGolden> Read(const std::string& path);

  const std::vector<TokenId>& tokens() const { return tokens_; }
  // The golden logits i are those after tokens 0..positions()[i]; ascending.
  const std::vector<int32_t>& positions() const { return positions_; }
  int vocab_size() const { return vocab_size_; }

  // Drops the tokens from `num_tokens` on and the positions there.
  void Truncate(int num_tokens);

  // `logits` [positions().size(), vocab_size()]; margins count as clear above `clear_margin`.
  LogitsDistance Compare(std::span<const float> logits, double clear_margin) const;

 private:
  // KL of golden row i and `row` [vocab_size].
  double Kl(int i, std::span<const float> row) const;

  int vocab_size_ = 0;
  int top_ = 0;  // largest logits kept of each position
  std::vector<TokenId> tokens_;
  std::vector<int32_t> positions_;
  std::vector<uint16_t> top_ids_;       // [positions, top]
  std::vector<float> top_logits_;       // [positions, top], falling
  std::vector<double> lse_, tail_lse_;  // [positions], of the whole vocabulary and of its tail
};

}  // namespace skv::model
